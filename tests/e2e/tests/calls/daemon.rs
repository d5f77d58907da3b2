//! What a running agent asks, and what it shows of the answers.

use super::service;
use insight_e2e::agent::{Agent, Config, Site};
use insight_e2e::http;
use insight_lab::service::words::descriptor_set;
use std::fs;

/// A probe of the lab's words every 100 ms.
fn words(address: &str, method: &str, lines: &str) -> Config {
    let lines = format!(
        "method = \"/insight.lab.v1.Words/{method}\"\ninterval = \"100ms\"\nconnections = [\"reused\"]\n{lines}"
    );
    Config::new().probe("words", "far", address, &lines)
}

fn wait_for_good(agent: &Agent, status: &str) {
    agent.wait_for("a good answer", |seen| {
        let labels = [("probe", "words"), ("status", status)];
        seen.value("insight_probe_results_total", &labels).filter(|count| *count >= 3.0)
    });
}

fn failures(agent: &Agent, class: &str) -> Option<f64> {
    let labels = [("probe", "words"), ("class", class)];
    agent.scrape().value("insight_probe_failures_total", &labels)
}

#[test]
fn a_request_in_json_is_sent_and_a_reload_changes_it() {
    let site = Site::new();
    let address = service(&site).to_string();
    let expecting = |request: &str| {
        let rule = "[[probe.expect]]\nfield = \"text\"\nequals = \"hello\"";
        words(&address, "Echo", &format!("request_json = '{{\"text\": \"{request}\"}}'\n{rule}"))
    };
    let agent = site.start(&expecting("hello"));
    wait_for_good(&agent, "OK");
    assert_eq!(failures(&agent, "expectation"), None);
    assert_eq!(
        failures(&agent, "schema"),
        None,
        "no sample fails while the service is asked for its messages"
    );

    site.write("insight.toml", &expecting("goodbye").render(&site));
    let answer = http::post(site.admin(), "/-/reload", &[]).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    agent.wait_for("a broken expectation", |seen| {
        let labels = [("probe", "words"), ("class", "expectation"), ("phase", "response")];
        seen.value("insight_probe_failures_total", &labels)
    });
    let status = agent.probe_status("words");
    let detail = status["last_failure"]["detail"].as_str().unwrap();
    assert!(detail.contains("field text is \"goodbye\", and must be \"hello\""), "{detail}");
}

#[test]
fn an_unknown_id_is_a_good_answer_where_it_is_expected() {
    let site = Site::new();
    let address = service(&site).to_string();
    fs::write(site.path("words.binpb"), descriptor_set()).unwrap();
    let lines = "descriptor_set = \"words.binpb\"\nexpect_status = [\"NOT_FOUND\"]";
    let agent = site.start(&words(&address, "Echo", lines));
    wait_for_good(&agent, "NOT_FOUND");
    assert_eq!(failures(&agent, "status"), None);
    let seen = agent.scrape();
    let count = seen.histogram("insight_probe_duration_seconds", &[("probe", "words")]).unwrap().count;
    assert!(count >= 3.0, "an expected error has a latency: {count}");
}

#[test]
fn a_gap_in_a_stream_is_exported_as_that_gap() {
    let site = Site::new();
    let address = service(&site).to_string();
    let request = "request_json = '{\"text\": \"x\", \"times\": 3, \"gap_ms\": 60}'";
    let agent = site.start(&words(&address, "Repeat", request));
    wait_for_good(&agent, "OK");
    let seen = agent.scrape();
    let of = [("probe", "words")];
    let value = |name: &str| seen.value(&format!("insight_probe_stream_{name}"), &of).unwrap();
    assert!(value("messages_total") >= 9.0);
    let mean_gap = value("largest_gap_seconds_sum") / value("largest_gap_seconds_count");
    assert!((0.055..2.0).contains(&mean_gap), "{mean_gap}");
    let mean_first = value("first_message_seconds_sum") / value("first_message_seconds_count");
    assert!(mean_first < mean_gap, "{mean_first} {mean_gap}");
    assert!(agent.probe_status("words")["stream"]["messages"].as_u64().unwrap() >= 9);
}

#[test]
fn a_health_watch_shows_a_state_and_a_service_that_goes() {
    let site = Site::new();
    let address = service(&site).to_string();
    let agent = site.start(&Config::new().probe("words", "far", &address, "health_watch = true"));
    let serving = |seen: &insight_e2e::exposition::Exposition| {
        seen.value("insight_probe_health_serving", &[("probe", "words")])
    };
    assert_eq!(agent.wait_for("a state", serving), 1.0);
    let seen = agent.scrape();
    assert!(seen.value("insight_probe_health_age_seconds", &[("probe", "words")]).is_some());
    assert_eq!(agent.probe_status("words")["health"]["state"], "SERVING");

    site.write("insight.toml", &Config::new().render(&site));
    let answer = http::post(site.admin(), "/-/reload", &[]).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(serving(&agent.scrape()), None, "what is watched by nobody has no state");
}
