//! `insight-agent probe ADDRESS SERVICE/METHOD`.

use super::service;
use insight_e2e::agent::Site;
use insight_lab::service::words::descriptor_set;
use serde_json::Value;
use std::fs;

#[test]
fn an_answer_is_printed_as_json() {
    let site = Site::new();
    let address = service(&site).to_string();
    let asked = ["probe", &address, "insight.lab.v1.Words/Echo", "--data", "{\"text\": \"hello\"}"];
    let text = site.execute(&[&asked[..], &["--count", "1", "--show-answer"]].concat());
    assert_eq!(text.code, 0, "{text:?}");
    assert!(text.stdout.contains("\"text\": \"hello\""), "{}", text.stdout);
    let silent = site.execute(&[&asked[..], &["--count", "1"]].concat());
    assert!(!silent.stdout.contains("hello"), "{}", silent.stdout);

    fs::write(site.path("request.json"), "{\"text\": \"x\", \"times\": 2}").unwrap();
    fs::write(site.path("words.binpb"), descriptor_set()).unwrap();
    let data = format!("@{}", site.path("request.json").display());
    let set = site.path("words.binpb").display().to_string();
    let finished = site.execute(&[
        "probe",
        &address,
        "insight.lab.v1.Words/Repeat",
        "--data",
        &data,
        "--descriptor-set",
        &set,
        "--count",
        "1",
        "--show-answer",
        "--output",
        "json",
    ]);
    assert_eq!(finished.code, 0, "{finished:?}");
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    let last = &report["samples"][1];
    assert_eq!((&last["stream"]["messages"], &last["answer"][1]["nth"]), (&2.into(), &2.into()));
}

#[test]
fn an_expected_status_is_exit_code_0_and_another_is_not() {
    let site = Site::new();
    let address = service(&site).to_string();
    let echo = ["probe", &address, "insight.lab.v1.Words/Echo", "--count", "1"];
    let expected = site.execute(&[&echo[..], &["--expect-status", "not_found"]].concat());
    assert_eq!(expected.code, 0, "{expected:?}");
    let unexpected = site.execute(&echo);
    assert_eq!(unexpected.code, 3, "{unexpected:?}");
}

#[test]
fn what_does_not_fit_is_told_where_it_can_be() {
    let site = Site::new();
    let address = service(&site).to_string();
    fs::write(site.path("words.binpb"), descriptor_set()).unwrap();
    let set = site.path("words.binpb").display().to_string();
    let method = "insight.lab.v1.Words/Echo";
    for (arguments, code, part) in [
        (&[method, "--data", "{"][..], 2, "--data: not JSON"),
        (&[method, "--data", "{\"txt\": 1}", "--descriptor-set", &set], 2, "unrecognized field name 'txt'"),
        (&[method, "--descriptor-set", "/no/such"], 2, "cannot read /no/such"),
        (&["--data", "{}"], 2, "SERVICE/METHOD"),
        (&[method, "--data", "{\"txt\": 1}"], 3, "unrecognized field name 'txt'"),
    ] {
        let finished = site.execute(&[&["probe", &address, "--count", "1"][..], arguments].concat());
        assert_eq!(finished.code, code, "{arguments:?}: {finished:?}");
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}
