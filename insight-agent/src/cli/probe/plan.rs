//! From arguments to a plan.

use super::{ModeArg, Output, ProbeArgs, method};
use crate::config::{HostPort, Ip, reach, size};
use crate::model::dial::Dial;
use crate::model::expect::Expectations;
use crate::model::plan::{Call, Connection, LinkEnds, Mode, ProbePlan, RoutePlan, TlsPlan};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Largest payload that can be asked for; the same bound as the configuration's.
const MAX_PAYLOAD: usize = 64 * 1024 * 1024;

/// A serialised message. (clap takes a bare `Vec<u8>` for a repeated option.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageBytes(Vec<u8>);

/// What the arguments say of the way to the next hop.
pub(super) fn reach(args: &ProbeArgs) -> reach::Options<'_> {
    reach::Options {
        ip: args.ip,
        proxy: args.proxy.as_deref(),
        auth_file: args.proxy_auth_file.as_deref(),
        link_pings: (args.mode == ModeArg::Link).then_some(!args.no_ping),
        makes_series: args.output == Output::Prom,
    }
}

/// The plan of each probe that there is to be: one, or one for each version of IP.
pub(super) fn versions(plan: &ProbePlan, ip: Ip) -> Vec<ProbePlan> {
    let of = |(suffix, version)| {
        let mut plan = plan.clone();
        plan.name.push_str(suffix);
        plan.route.dial.ip = version;
        plan
    };
    ip.probes().into_iter().map(of).collect()
}

/// The plan that the arguments describe, over whatever addresses there are. The error says which argument, and
/// what to do.
pub(super) fn plan(args: &ProbeArgs, mode: Mode) -> Result<ProbePlan, String> {
    let address: HostPort =
        args.address.parse().map_err(|error| format!("ADDRESS {:?}: {error}", args.address))?;
    let next_hop = match &args.via {
        Some(via) => via.parse().map_err(|error| format!("--via {via:?}: {error}"))?,
        None => address.clone(),
    };
    let proxy = reach(args).proxy(&next_hop)?;
    if mode == Mode::WhiteBox && args.called.is_some() {
        return Err("SERVICE/METHOD belongs to a black-box probe: remove it, or --mode white-box".to_owned());
    }
    let call = match (mode, &args.method) {
        (Mode::WhiteBox, _) => Call::Measure {
            request_bytes: args.request_bytes,
            response_bytes: args.response_bytes,
            delay: args.delay,
        },
        (Mode::BlackBox, Some(method)) => {
            let request = args.request_base64.clone().map(|bytes| bytes.0).unwrap_or_default();
            Call::Unary { method: method.clone(), request }
        }
        (Mode::BlackBox, None) if args.called.is_some() => Call::Method(method::call(args)?),
        (Mode::BlackBox, None) => Call::HealthCheck { service: args.service.clone() },
        (Mode::Link, _) => {
            refuse_what_only_requests_have(args)?;
            Call::Link(LinkEnds { from: "prober".into(), to: args.address.clone() })
        }
    };
    let wants_tls =
        args.tls || args.ca_file.is_some() || args.server_name.is_some() || args.cert_file.is_some();
    let tls = wants_tls.then(|| TlsPlan {
        ca_file: args.ca_file.clone(),
        server_name: args.server_name.clone(),
        client_identity: args.cert_file.clone().zip(args.key_file.clone()),
    });
    Ok(ProbePlan {
        name: "probe".into(),
        source: "here".into(),
        target: args.address.clone(),
        mode,
        call,
        expect: Expectations { statuses: args.expect_status.clone(), rules: Vec::new() },
        route: RoutePlan {
            name: next_hop.to_string(),
            authority: args.authority.clone().unwrap_or_else(|| address.authority()),
            host: next_hop.host,
            port: next_hop.port,
            dial: Dial { proxy, ..Dial::default() },
            metadata: metadata(args, &address),
            tls,
            origin: "prober".into(),
            hops: args.hops.clone(),
            server_timing: Default::default(),
            envoy_hop: None,
            kong_hop: None,
            load_metrics: Vec::new(),
        },
        interval: args.interval,
        jitter: 0.0,
        burst: 0,
        deadline: args.deadline,
        drain: args.drain,
        connections: vec![Connection::Fresh, Connection::Reused],
        slots: 1,
        ping: !args.no_ping,
        max_in_flight: 1,
        // A person who looks at one sample shall see it, with the prober's wait beside it.
        void_share: f64::INFINITY,
    })
}

/// What tells the forwarding layer the way. Without --via there is nothing to fill in: braces are braces.
fn metadata(args: &ProbeArgs, address: &HostPort) -> Vec<(String, String)> {
    let fill = |value: &str| match &args.via {
        None => value.to_owned(),
        Some(_) => value
            .replace("{address}", &address.to_string())
            .replace("{host}", &address.host)
            .replace("{port}", &address.port.to_string()),
    };
    args.metadata.iter().map(|(key, value)| (key.clone(), fill(value))).collect()
}

/// A link has no request for these to go into.
fn refuse_what_only_requests_have(args: &ProbeArgs) -> Result<(), String> {
    let given = [
        ("--metadata", !args.metadata.is_empty()),
        ("--hops", !args.hops.is_empty()),
        ("--authority", args.authority.is_some()),
        ("--via", args.via.is_some()),
        ("--service", !args.service.is_empty()),
        ("--method", args.method.is_some()),
        ("SERVICE/METHOD", args.called.is_some()),
        ("--expect-status", !args.expect_status.is_empty()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => {
            Err(format!("{option} belongs to a request, and --mode link makes none: remove it"))
        }
        None => Ok(()),
    }
}

/// `key=value`; the key in lower case, as HTTP/2 demands.
pub(super) fn parse_metadata(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, for example x-target-region=sg")?;
    let key = key.trim().to_ascii_lowercase();
    http::HeaderName::try_from(&key).map_err(|_| format!("{key:?} is no metadata key"))?;
    http::HeaderValue::try_from(value).map_err(|_| "the value must be visible ASCII".to_owned())?;
    Ok((key, value.to_owned()))
}

/// `/package.Service/Method`.
pub(super) fn parse_method(text: &str) -> Result<String, String> {
    let mut parts = text.split('/');
    let shape = (parts.next(), parts.next(), parts.next(), parts.next());
    match shape {
        (Some(""), Some(service), Some(method), None) if !service.is_empty() && !method.is_empty() => {
            Ok(text.to_owned())
        }
        _ => Err("write /package.Service/Method".into()),
    }
}

/// Standard base64 with padding.
pub(super) fn parse_base64(text: &str) -> Result<MessageBytes, String> {
    STANDARD.decode(text).map(MessageBytes).map_err(|error| format!("{error}: write standard base64"))
}

/// A size with its unit, within the largest payload.
pub(super) fn parse_size(text: &str) -> Result<usize, String> {
    let bytes = size::parse(text).map_err(|error| format!("{error}: {}", error.advice()))?;
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    if bytes > MAX_PAYLOAD { Err("at most 64MiB".into()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_cannot_be_are_refused_with_the_form() {
        assert!(parse_metadata("x-target-region").unwrap_err().contains("KEY=VALUE"));
        assert!(parse_metadata("a b=c").is_err() && parse_metadata("a=\n").is_err());
        assert_eq!(parse_metadata("X-Region=a=b").unwrap(), ("x-region".into(), "a=b".into()));
        for bad in ["", "/", "shop.Cart/Get", "/shop.Cart", "/shop.Cart/", "//Get", "/a/b/c"] {
            assert!(parse_method(bad).is_err(), "{bad}");
        }
        assert!(parse_method("/shop.Cart/Get").is_ok());
        assert!(parse_size("65MiB").is_err() && parse_size("5").is_err());
        assert_eq!(parse_base64("CgVh").unwrap(), MessageBytes(vec![10, 5, 97]));
        assert!(parse_base64("?").is_err());
    }
}
