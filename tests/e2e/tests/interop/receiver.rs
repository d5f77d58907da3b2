//! The agent's own gRPC services, called by implementations that know only reflection.

use crate::peers::python;
use insight_e2e::agent::{Agent, Config, Finished, Site, execute};
use insight_e2e::equipment::{Program, has};
use serde_json::Value;
use std::process::Command;

/// Runs grpcurl on the agent's receiver; its arguments stand around the address.
fn grpcurl(site: &Site, before: &[&str], after: &[&str]) -> Finished {
    let mut command = Command::new(Program::Grpcurl.path());
    command.arg("-plaintext").args(["-connect-timeout", "10", "-max-time", "15"]);
    command.args(before).arg(site.grpc().to_string()).args(after);
    execute(command, "grpcurl", &site.path("grpcurl.out"), &site.path("grpcurl.err"))
}

/// An agent without probes: a pure receiver.
fn receiver() -> (Agent, Site) {
    let site = Site::new();
    let agent = site.start(&Config::new().grpc("max_delay = \"2s\""));
    (agent, site)
}

#[track_caller]
fn assert_good(finished: &Finished) -> &str {
    assert_eq!(finished.code, 0, "{finished:?}");
    &finished.stdout
}

/// A protobuf JSON number of 64 bits, which is a string.
#[track_caller]
fn number(value: &Value) -> u64 {
    value.as_str().unwrap_or_else(|| panic!("{value} is no 64-bit number")).parse().unwrap()
}

#[test]
fn grpcurl_lists_and_describes_the_services() {
    if !has("grpcurl_lists_and_describes_the_services", &[Program::Grpcurl]) {
        return;
    }
    let (_agent, site) = receiver();
    let list = grpcurl(&site, &[], &["list"]);
    let services: Vec<_> = assert_good(&list).lines().collect();
    for service in ["grpc.health.v1.Health", "insight.v1.Probe"] {
        assert!(services.contains(&service), "{service} is missing in {services:?}");
    }
    let describe = grpcurl(&site, &[], &["describe", "insight.v1.Probe"]);
    let text = assert_good(&describe);
    let method = "rpc Measure ( .insight.v1.MeasureRequest ) returns ( .insight.v1.MeasureResponse );";
    assert!(text.contains(method), "{text}");
    let describe = grpcurl(&site, &[], &["describe", "insight.v1.MeasureRequest"]);
    let text = assert_good(&describe);
    assert!(text.contains("uint64 delay_ns = 3;") && text.contains("uint64 sequence = 4;"), "{text}");
}

#[test]
fn grpcurl_gets_serving_for_the_receiver_and_not_found_for_a_stranger() {
    if !has("grpcurl_gets_serving_for_the_receiver_and_not_found_for_a_stranger", &[Program::Grpcurl]) {
        return;
    }
    let (_agent, site) = receiver();
    for service in ["", "insight.v1.Probe"] {
        let body = format!("{{\"service\":\"{service}\"}}");
        let check = grpcurl(&site, &["-d", &body], &["grpc.health.v1.Health/Check"]);
        let answer: Value = serde_json::from_str(assert_good(&check)).unwrap();
        assert_eq!(answer["status"], "SERVING", "{service:?}");
    }
    let stranger = grpcurl(&site, &["-d", "{\"service\":\"shop.Cart\"}"], &["grpc.health.v1.Health/Check"]);
    assert_ne!(stranger.code, 0);
    assert!(stranger.stderr.contains("NotFound"), "{stranger:?}");
}

#[test]
fn a_delay_asked_for_by_grpcurl_comes_back_as_service_time() {
    if !has("a_delay_asked_for_by_grpcurl_comes_back_as_service_time", &[Program::Grpcurl]) {
        return;
    }
    const DELAY_NS: u64 = 60_000_000;
    let (_agent, site) = receiver();
    let body = format!("{{\"delayNs\":\"{DELAY_NS}\",\"sequence\":\"7\",\"responsePayloadBytes\":3}}");
    let measure = grpcurl(&site, &["-d", &body], &["insight.v1.Probe/Measure"]);
    let answer: Value = serde_json::from_str(assert_good(&measure)).unwrap();
    let duration = number(&answer["receiveToSendNs"]);
    assert!(duration >= DELAY_NS, "{answer}");
    assert!(u128::from(duration) <= measure.took.as_nanos(), "longer than the call: {answer}");
    assert!((DELAY_NS..=duration).contains(&number(&answer["appliedDelayNs"])), "{answer}");
    assert_eq!(number(&answer["sequence"]), 7);
    assert_eq!((&answer["region"], &answer["node"]), (&"eu".into(), &"eu-1".into()));
    assert_eq!(answer["payload"], "AAAA", "three zero bytes");

    let verbose = grpcurl(&site, &["-v", "-d", &body], &["insight.v1.Probe/Measure"]);
    let text = assert_good(&verbose);
    let trailers = text.split("Response trailers received:").nth(1).unwrap_or_else(|| panic!("{text}"));
    let value = trailers.lines().find_map(|line| line.strip_prefix("x-insight-service: d="));
    let milliseconds: f64 =
        value.unwrap_or_else(|| panic!("no x-insight-service in {trailers}")).parse().unwrap();
    assert!(milliseconds >= DELAY_NS as f64 / 1e6, "{milliseconds} ms");
}

#[test]
fn grpcio_knows_the_receiver_by_reflection_and_is_told_the_limits() {
    if !has("grpcio_knows_the_receiver_by_reflection_and_is_told_the_limits", &[Program::Python]) {
        return;
    }
    let (_agent, site) = receiver();
    let mut command = python("caller.py");
    command.arg(site.grpc().to_string());
    let finished = execute(command, "caller.py", &site.path("caller.out"), &site.path("caller.err"));
    let told: Value = serde_json::from_str(assert_good(&finished)).unwrap();
    let good = &told["good"];
    assert!(number(&good["receiveToSendNs"]) >= 20_000_000, "{good}");
    assert_eq!((number(&good["sequence"]), &good["receivedPayloadBytes"]), (42, &5.into()));
    let trailer = told["trailers"]["x-insight-service"].as_str().unwrap();
    assert!(trailer.strip_prefix("d=").unwrap().parse::<f64>().unwrap() >= 20.0, "{trailer}");
    for (field, limit, key) in [("delay", "2s", "grpc.max_delay"), ("size", "4194304", "grpc.max_payload")] {
        let refusal = &told[field];
        assert_eq!(refusal["code"], "INVALID_ARGUMENT", "{refusal}");
        let details = refusal["details"].as_str().unwrap();
        assert!(details.contains(limit) && details.contains(key), "{details}");
    }
}

#[test]
fn reflection_that_is_switched_off_tells_nothing() {
    if !has("reflection_that_is_switched_off_tells_nothing", &[Program::Grpcurl]) {
        return;
    }
    let site = Site::new();
    let _agent = site.start(&Config::new().grpc("reflection = false"));
    let list = grpcurl(&site, &[], &["list"]);
    assert_ne!(list.code, 0, "{list:?}");
    assert!(list.stderr.contains("does not support the reflection API"), "{list:?}");
}
