//! `insight-agent probe`: exit codes and JSON that scripts rely on.

use crate::pair::PORT;
use insight_e2e::agent::{Finished, Site};
use insight_e2e::exposition::Exposition;
use insight_e2e::peers::grpc::{Deed, Peer, Reply};
use insight_e2e::peers::insight::{MEASURE, measured};
use serde_json::Value;
use std::collections::BTreeSet;

fn probe(site: &Site, address: &str, more: &[&str]) -> Finished {
    let mut arguments = vec!["probe", address, "--count", "3", "--interval", "10ms", "--output", "json"];
    arguments.extend(more);
    site.execute(&arguments)
}

#[track_caller]
fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error} in {finished:?}"))
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn all_good_answers_are_exit_code_0_and_the_json_has_its_keys() {
    let site = Site::new();
    let address = site.loopback.at(2, PORT);
    let _peer = Peer::start(address, |call| {
        measured(call).map_or(Deed::from(Reply::grpc_status(12, "")), |reply| {
            reply.header("x-insight-hop", b"m;d=0.2;u=0.1").into()
        })
    });
    let finished = probe(&site, &address.to_string(), &[]);
    assert_eq!(finished.code, 0, "{finished:?}");
    let report = json(&finished);
    let wanted = [
        "address",
        "authority",
        "connection_events",
        "exit_code",
        "fell_back_to_health",
        "ip",
        "method",
        "mode",
        "proxy",
        "samples",
    ];
    assert_eq!(keys(&report), wanted.into());
    assert_eq!((&report["method"], &report["fell_back_to_health"]), (&MEASURE.into(), &false.into()));
    let samples = report["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 4, "one fresh and three reused");
    for sample in samples {
        let wanted = [
            "answer",
            "connection",
            "detail",
            "failure_class",
            "failure_phase",
            "hops",
            "ledger",
            "load",
            "outcome",
            "phases",
            "prober_stalled_seconds",
            "prober_wait_seconds",
            "rulers",
            "server_stats",
            "service_seconds",
            "status",
            "stream",
            "took_seconds",
            "total_seconds",
        ];
        assert_eq!(keys(sample), wanted.into());
        assert_eq!((&sample["outcome"], &sample["status"]), (&"ok".into(), &"OK".into()));
        assert!(sample["total_seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(sample["hops"][0]["name"], "m");
        assert_eq!(sample["service_seconds"], 50e-6);
    }
    assert_eq!(samples[0]["connection"], "fresh");
    assert!(samples[0]["phases"]["connect_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(samples[1]["phases"]["connect_seconds"], Value::Null, "no such phase on a reused connection");
}

#[test]
fn some_failures_are_exit_code_1() {
    let site = Site::new();
    let address = site.loopback.at(2, PORT);
    let _peer = Peer::start(address, |call| match call.number {
        1 => Reply::http(503).into(),
        _ => Reply::serving().into(),
    });
    let finished = probe(&site, &address.to_string(), &["--mode", "black-box"]);
    assert_eq!(finished.code, 1, "{finished:?}");
    let report = json(&finished);
    assert_eq!(report["exit_code"], 1);
    let classes: Vec<_> = report["samples"].as_array().unwrap().iter().map(|s| &s["failure_class"]).collect();
    assert_eq!(classes, [&Value::Null, &"proxy".into(), &Value::Null, &Value::Null]);
}

#[test]
fn wrong_arguments_are_exit_code_2_and_say_which() {
    let site = Site::new();
    for (arguments, part) in [
        (&["probe"][..], "<ADDRESS>"),
        (&["probe", "no-port"], "no-port"),
        (&["probe", "a:1", "--deadline", "5"], "--deadline"),
        (&["probe", "a:1", "--method", "pkg.S/M"], "write /package.Service/Method"),
        (&["probe", "a:1", "--request-base64", "CgVh"], "--method"),
        (&["probe", "a:1", "-H", "x-region"], "KEY=VALUE"),
        (&["probe", "a:1", "--via", "no-port"], "--via \"no-port\""),
        (&["probe", "a:1", "--via", "b:2", "--mode", "link"], "--via"),
        (&["probe", "a:1", "--ca-file", "/no/such/ca.pem"], "/no/such/ca.pem"),
    ] {
        let finished = site.execute(arguments);
        assert_eq!(finished.code, 2, "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains(part), "{arguments:?}: no {part:?} in {}", finished.stderr);
        assert_eq!(finished.stdout, "", "{arguments:?}");
    }
}

#[test]
fn no_good_answer_is_exit_code_3_with_the_reason() {
    let site = Site::new();
    let address = site.loopback.at(2, PORT).to_string();
    let finished = probe(&site, &address, &[]);
    assert_eq!(finished.code, 3, "{finished:?}");
    let report = json(&finished);
    for sample in report["samples"].as_array().unwrap() {
        assert_eq!((&sample["outcome"], &sample["failure_class"]), (&"failed".into(), &"refused".into()));
        assert!(sample["detail"].as_str().unwrap().contains("nothing listens there"), "{sample}");
        assert_eq!(sample["total_seconds"], Value::Null, "a failure has no latency");
    }
    let text = site.execute(&["probe", &address, "--count", "1"]);
    assert_eq!(text.code, 3);
    assert!(text.stdout.contains("nothing listens there"), "{text:?}");
}

#[test]
fn what_goes_via_a_forwarder_says_where_it_is_meant_to_go() {
    let site = Site::new();
    let forwarder = site.loopback.at(2, PORT);
    let _peer = Peer::start(forwarder, |call| {
        let told = call.headers.get("x-target").map(|value| value.as_bytes().to_owned());
        match (call.authority.as_str(), told.as_deref()) {
            ("orders.sg:443", Some(b"orders.sg of orders.sg:443")) => Reply::serving().into(),
            _ => Reply::http(404).into(),
        }
    });
    let via = ["--mode", "black-box", "--via", &forwarder.to_string(), "-H", "x-target={host} of {address}"];
    let finished = probe(&site, "orders.sg:443", &via);
    assert_eq!(finished.code, 0, "{finished:?}");
    let report = json(&finished);
    assert_eq!(report["address"], forwarder.to_string(), "that is whom it speaks to");
    assert_eq!(report["authority"], "orders.sg:443");
}

#[test]
fn prom_output_has_the_names_and_figures_of_an_agents_page() {
    let site = Site::new();
    let address = site.loopback.at(2, PORT);
    let _peer = Peer::start(address, |call| match call.number {
        1 => Reply::http(503).into(),
        _ => Reply::serving().into(),
    });
    let target = address.to_string();
    let arguments = ["--mode", "black-box", "--count", "3", "--interval", "10ms", "--output", "prom"];
    let finished = site.execute(&[&["probe", &target][..], &arguments].concat());
    assert_eq!(finished.code, 1, "{finished:?}");
    let page = Exposition::parse(&finished.stdout).unwrap();
    let of = |name: &str, labels: &[(&str, &str)]| page.sum(name, labels);
    assert_eq!(of("insight_probe_results_total", &[("status", "OK"), ("target", &target)]), Some(3.0));
    assert_eq!(of("insight_probe_failures_total", &[("class", "proxy")]), Some(1.0));
    assert_eq!(of("insight_probe_duration_seconds_count", &[("connection", "reused")]), Some(2.0));
    let latency = page.value("cross_region_latency_ms", &[("target", &target)]);
    assert!(latency.is_some_and(|latency| (0.0..5_000.0).contains(&latency)), "{}", finished.stdout);
    assert!(of("insight_build_info", &[]).is_none(), "no agent speaks");
}
