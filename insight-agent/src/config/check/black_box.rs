//! What a black-box probe asks: a health check, a health watch, any method in bytes or in JSON; and whether
//! the keys that say so fit together.

use super::expect;
use crate::config::descriptors;
use crate::config::errors::{Complaint, Findings, Site, Stated};
use crate::config::files;
use crate::config::schema::HEALTH_CHECK;
use crate::config::table::Table;
use crate::config::values;
use crate::model::expect::Expectations;
use crate::model::method::{DescriptorSet, Method, MethodError};
use crate::model::plan::{Call, Connection, MethodCall};
use base64::Engine;
use std::path::Path;
use std::sync::Arc;

/// Keys that only black-box probes have.
pub(super) const KEYS: [&str; 9] = [
    "method",
    "request_base64",
    "request_json",
    "descriptor_set",
    "max_messages",
    "health_service",
    "health_watch",
    "expect_status",
    "expect",
];
/// Keys that say what is asked of a method, or expected of its answer, and over which of several connections: a
/// watch has one stream and none of these.
const NOT_OF_A_WATCH: [&str; 8] = [
    "method",
    "request_base64",
    "request_json",
    "descriptor_set",
    "max_messages",
    "expect_status",
    "expect",
    "reused_connections",
];
/// Keys that need the method's messages.
const OF_MESSAGES: [&str; 3] = ["request_json", "descriptor_set", "max_messages"];

/// The call and what is expected of it. **None**: `findings` has the reasons.
pub(super) fn read(
    table: &Table<'_>,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<(Call, Expectations)> {
    // Everything is read before any of it is judged: one run shows all errors.
    let method = table.text("method", findings, values::method);
    let service = table.text("health_service", findings, values::service);
    let watch = table.flag("health_watch", findings);
    let bytes = table.text("request_base64", findings, |text| {
        base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| {
            let advice = "write the serialised message in standard base64 with padding, on one line";
            // The library repeats single symbols at most, never the message.
            Complaint::new(format!("not base64 ({})", error.to_string().to_lowercase()), advice)
        })
    });
    let json = table.string("request_json", findings);
    let has_json = table.states("request_json");
    let descriptors = descriptors(table, base, findings);
    let max_messages = table.count("max_messages", findings);
    let expect = expect::read(table, findings);
    let (method, service, bytes) = (method?, service?, bytes?);
    let (expect, max_messages) = (expect?, max_messages?.value);
    if has_json && json.is_none() {
        return None;
    }
    if watch?.value {
        refuse(table, &NOT_OF_A_WATCH, "a health watch has none", findings);
        return Some((Call::HealthWatch { service: service.value }, Expectations::default()));
    }
    let needs = OF_MESSAGES.into_iter().find(|key| table.states(key));
    let needs = needs.or_else(|| expect.fields().next().map(|_| "expect"));
    let Some(needs) = needs else {
        let call = in_bytes(method, service, bytes, findings)?;
        return Some((call, expect));
    };
    if bytes.site.written {
        let what = format!("the request is in bytes, and {needs} needs its message");
        findings.error(&bytes.site, what, "write it as request_json instead");
        return None;
    }
    if !method.site.written {
        let site = table.stated_site(needs, findings);
        findings.error(&site, "no method is named that it could belong to", "set probe.method");
        return None;
    }
    if service.site.written {
        findings.error(
            &service.site,
            format!("only the health check asks about a service, and {needs} makes a request of its own"),
            "remove one of the two",
        );
        return None;
    }
    let (request, site) = match json {
        Some(json) => (json.value, json.site),
        None => ("{}".to_owned(), table.site_of("request_json")),
    };
    let call =
        MethodCall { method: method.value, request_json: request, descriptors: descriptors?, max_messages };
    check(table, &call, &expect, &Sites { method: &method.site, request: &site }, findings)?;
    Some((Call::Method(call), expect))
}

/// Of a watch, the one that its stream stays on; of everything else what the table says.
pub(super) fn connections(
    table: &Table<'_>,
    call: Option<&Call>,
    stated: Option<Vec<Connection>>,
    findings: &mut Findings<'_>,
) -> Option<Vec<Connection>> {
    if !matches!(call, Some(Call::HealthWatch { .. })) {
        return stated;
    }
    if table.states("connections") && stated.as_deref() != Some(&[Connection::Reused]) {
        findings.error(
            &table.stated_site("connections", findings),
            "a health watch keeps one stream open, on one connection",
            "remove it, or write [\"reused\"]",
        );
        return None;
    }
    Some(vec![Connection::Reused])
}

fn refuse(table: &Table<'_>, keys: &[&str], why: &str, findings: &mut Findings<'_>) {
    for key in keys.iter().filter(|key| table.states(key)) {
        let site = table.stated_site(key, findings);
        findings.error(&site, why, format!("remove {key}, or set health_watch = false"));
    }
}

/// **`Some(None)`**: none is named. **None**: it cannot be used.
fn descriptors(
    table: &Table<'_>,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<Option<Arc<DescriptorSet>>> {
    if !table.states("descriptor_set") {
        return Some(None);
    }
    let file = files::readable(table, "descriptor_set", base, findings)?;
    match descriptors::load(&file.value, findings.knows_files()) {
        Ok(set) => Some(Some(set)),
        Err(error) => {
            let advice =
                "write it with protoc --include_imports --descriptor_set_out=FILE, or with buf build -o FILE";
            findings.error(&file.site, error.to_string(), advice);
            None
        }
    }
}

fn in_bytes(
    method: Stated<String>,
    service: Stated<String>,
    bytes: Stated<Vec<u8>>,
    findings: &mut Findings<'_>,
) -> Option<Call> {
    if method.value == HEALTH_CHECK {
        if bytes.site.written {
            findings.error(
                &bytes.site,
                "the health check's request is built from health_service",
                "set probe.method to another method, or set probe.health_service instead",
            );
        }
        return Some(Call::HealthCheck { service: service.value });
    }
    if service.site.written {
        findings.error(
            &service.site,
            format!("only the health check asks about a service, and probe.method = \"{}\"", method.value),
            "remove one of the two",
        );
    }
    Some(Call::Unary { method: method.value, request: bytes.value })
}

/// Where a call's parts are stated.
struct Sites<'a> {
    method: &'a Site,
    request: &'a Site,
}

/// Holds the request and the rules against the descriptors, as far as these are known before anybody is asked.
fn check(
    table: &Table<'_>,
    call: &MethodCall,
    expect: &Expectations,
    sites: &Sites<'_>,
    findings: &mut Findings<'_>,
) -> Option<()> {
    let Some(set) = &call.descriptors else {
        // Without descriptors only this much is known of it.
        let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&call.request_json) else {
            return Some(());
        };
        let what = format!("not JSON ({error})");
        findings.error(sites.request, what, "write one JSON object, such as '{\"id\": \"7\"}'");
        return None;
    };
    let Err(error) = Method::new(set.pool(), &call.method, &call.request_json, expect) else {
        return Some(());
    };
    let (site, advice) = match &error {
        MethodError::Request { .. } => (sites.request.clone(), "write the request as the method has it"),
        MethodError::Field { .. } => {
            (table.stated_site("expect", findings), "name a field of the method's answer")
        }
        MethodError::Descriptors(_) | MethodError::NoService(..) | MethodError::NoMethod(..) => {
            (sites.method.clone(), "correct the method, or name a descriptor set that has it")
        }
        MethodError::ClientStreaming(_) => (sites.method.clone(), "probe another method of the service"),
    };
    findings.error(&site, error.to_string(), advice);
    None
}
