//! `probe ADDRESS SERVICE/METHOD`: a method that is asked in JSON, and what it answered.

use super::ProbeArgs;
use super::report::Report;
use crate::config::descriptors;
use crate::model::method::Method;
use crate::model::outcome::GrpcStatus;
use crate::model::plan::{MESSAGES_UNLESS_TOLD, MethodCall};
use crate::model::sample::ProbeSample;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// Longest request that is read: the largest message that gRPC implementations take by default, as JSON.
const REQUEST_MOST: u64 = 16 << 20;

/// `package.Service/Method`, also with a slash in front.
pub(super) fn parse(text: &str) -> Result<String, String> {
    super::plan::parse_method(&format!("/{}", text.strip_prefix('/').unwrap_or(text)))
        .map_err(|_| "write PACKAGE.SERVICE/METHOD, for example shop.Cart/Get".to_owned())
}

/// The name of a gRPC status.
pub(super) fn parse_status(text: &str) -> Result<GrpcStatus, String> {
    GrpcStatus::ALL
        .into_iter()
        .find(|status| status.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("no gRPC status: write one of {}", GrpcStatus::NAMES.join(", ")))
}

/// What the arguments ask. With a descriptor set the request is held against it before anything is sent.
pub(super) fn call(args: &ProbeArgs) -> Result<MethodCall, String> {
    let method = args.called.clone().unwrap_or_default();
    let request_json = match args.data.as_deref() {
        None => "{}".to_owned(),
        Some("-") => read(std::io::stdin(), "standard input")?,
        Some(data) => match data.strip_prefix('@') {
            None => data.to_owned(),
            Some(path) => {
                let file = std::fs::File::open(Path::new(path));
                read(file.map_err(|error| format!("--data @{path}: {error}: name a readable file"))?, path)?
            }
        },
    };
    let advice = "write one JSON object, for example '{\"id\": \"7\"}'";
    serde_json::from_str::<serde::de::IgnoredAny>(&request_json)
        .map_err(|error| format!("--data: not JSON ({error}): {advice}"))?;
    let descriptors = args.descriptor_set.as_deref().map(|path| descriptors::load(path, false)).transpose();
    let descriptors = descriptors.map_err(|error| {
        format!("--descriptor-set: {error}: write it with protoc --include_imports --descriptor_set_out=FILE")
    })?;
    if let Some(set) = &descriptors {
        Method::new(set.pool(), &method, &request_json, &Default::default()).map_err(|e| e.to_string())?;
    }
    Ok(MethodCall { method, request_json, descriptors, max_messages: MESSAGES_UNLESS_TOLD })
}

fn read(from: impl Read, name: &str) -> Result<String, String> {
    let mut text = String::new();
    let read = from.take(REQUEST_MOST).read_to_string(&mut text);
    read.map_err(|error| format!("--data: read {name}: {error}: it must be JSON in UTF-8"))?;
    Ok(text)
}

/// When a stream's messages came, of the sample that is shown.
pub(super) fn stream_line(out: &mut String, sample: &ProbeSample) {
    let Some(stream) = &sample.answer.stream else { return };
    let figure = |figure: Option<Duration>| {
        figure.map_or_else(|| "—".to_owned(), |figure| format!("{:.3} ms", figure.as_secs_f64() * 1e3))
    };
    let (first, gap) = (figure(stream.first_message), figure(stream.largest_gap));
    let cut = if stream.cut { ", then cut off" } else { "" };
    let _ =
        writeln!(out, "stream: {} messages{cut}, first after {first}, largest gap {gap}", stream.messages);
}

/// The messages of the last answer that has any.
pub(super) fn answer_lines(out: &mut String, report: &Report) {
    let Some(last) = report.samples().filter(|sample| !sample.answer.messages.is_empty()).last() else {
        return;
    };
    let _ = writeln!(out, "\nanswer");
    for message in &last.answer.messages {
        let _ = writeln!(out, "{message:#}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_statuses_are_understood_as_people_write_them() {
        assert_eq!(parse("shop.Cart/Get").unwrap(), "/shop.Cart/Get");
        assert_eq!(parse("/shop.Cart/Get").unwrap(), "/shop.Cart/Get");
        for bad in ["", "shop.Cart", "shop.Cart/", "//x/y"] {
            assert!(parse(bad).unwrap_err().contains("shop.Cart/Get"), "{bad}");
        }
        assert_eq!(parse_status("not_found"), Ok(GrpcStatus::NotFound));
        assert!(parse_status("404").unwrap_err().contains("NOT_FOUND"));
    }
}
