//! A real Prometheus scrapes the demo and is queried; promtool reads what we export.

use insight_e2e::agent::Site;
use insight_e2e::demo::{Running, User};
use insight_e2e::http;
use insight_e2e::path::Turn;
use insight_e2e::peers::grpc::{Peer, Reply};
use insight_e2e::wait::wait_until;
use insight_lab::skip::{SkipReason, skip};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What promtool may complain about: one line of `name reason` each.
const EXCEPTIONS: &str = include_str!("promtool-exceptions.txt");

fn has(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// The address behind a word in the demo's output, as in `prometheus http://ADDRESS`.
fn address_after(shown: &str, word: &str) -> Option<SocketAddr> {
    let rest = &shown[shown.find(word)? + word.len()..];
    let url = rest.split_whitespace().find(|part| part.starts_with("http://"))?;
    url.trim_start_matches("http://").split('/').next()?.parse().ok()
}

fn query(prometheus: SocketAddr, expression: &str) -> Result<f64, String> {
    let mut encoded = String::new();
    for byte in expression.bytes() {
        let _ = write!(encoded, "%{byte:02X}");
    }
    let answer = http::get(prometheus, &format!("/api/v1/query?query={encoded}"), &[]);
    let answer = answer.map_err(|error| error.to_string())?.body;
    let json: Value = serde_json::from_str(&answer).map_err(|error| format!("{error}: {answer}"))?;
    let value = json["data"]["result"][0]["value"][1].as_str().and_then(|text| text.parse::<f64>().ok());
    value.filter(|value| value.is_finite()).ok_or(answer)
}

#[test]
fn prometheus_answers_the_users_questions_and_promtool_has_no_new_complaint() {
    let name = "prometheus_answers_the_users_questions_and_promtool_has_no_new_complaint";
    if !has("prometheus") || !has("promtool") {
        return skip(
            name,
            SkipReason::Missing("prometheus is not installed: run `cargo xtask setup` as root"),
        );
    }
    let _turn = Turn::wait();
    let user = User::new();
    let demo = Running::start(user.demo(&["--prometheus", "--duration", "120s"]));
    let patience = Duration::from_secs(60);
    let prometheus = wait_until("Prometheus' address", patience, || {
        let shown = demo.so_far();
        address_after(&shown, "prometheus").ok_or(shown)
    });
    let median = wait_until("cross_region_latency_ms", patience, || {
        query(prometheus, r#"cross_region_latency_ms{source="eu",target="sg"}"#)
    });
    assert!((15.0..500.0).contains(&median), "{median} ms over a link of 20 ms");
    let p99 = "histogram_quantile(0.99, sum by (le) (rate(insight_probe_duration_seconds_bucket[1m])))";
    // Before the second scrape of eu, only sg's probes of its own region are in the rate.
    wait_until("the 99th percentile of a path of 20 ms", patience, || {
        let seconds = query(prometheus, p99)?;
        if (0.015..20.0).contains(&seconds) { Ok(()) } else { Err(format!("{seconds} s")) }
    });
    let success = r#"sum(rate(insight_probe_results_total{status="OK"}[1m])) / sum(rate(insight_probe_results_total[1m]))"#;
    let success = wait_until("the success share", patience, || query(prometheus, success));
    assert!(success > 0.99, "{success}");
    let up = wait_until("both agents", patience, || query(prometheus, "sum(up)"));
    assert!((up - 2.0).abs() < 1e-9, "{up} targets are up");

    for agent in ["eu", "sg"] {
        let metrics =
            address_after(&demo.so_far(), &format!("{agent}   metrics")).expect("the agent's address");
        let text = http::get(metrics, "/metrics", &[]).expect("scrape").body;
        complaints_are_known(agent, &text);
    }
    demo.signal(nix::sys::signal::Signal::SIGTERM);
    let finished = demo.finish(patience);
    assert!(finished.status.success(), "{finished:#?}");
    user.left_nothing();
}

fn complaints_are_known(agent: &str, text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start promtool");
    promtool.stdin.take().expect("its input is piped").write_all(text.as_bytes()).expect("feed promtool");
    let output = promtool.wait_with_output().expect("wait for promtool");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let known: Vec<&str> = EXCEPTIONS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    for complaint in said.lines().filter(|line| !line.trim().is_empty()) {
        let about = complaint.split_whitespace().next().unwrap_or_default();
        let is_meant = |known: &&str| match known.strip_suffix('*') {
            Some(beginning) => about.starts_with(beginning),
            None => about == *known,
        };
        assert!(known.iter().any(is_meant), "{agent}: promtool complains: {complaint}");
    }
    assert!(text.contains("insight_probe_results_total{"), "{agent}: promtool was given nothing: {text}");
}

#[test]
fn promtool_has_no_complaint_about_a_probe_on_the_command_line() {
    let name = "promtool_has_no_complaint_about_a_probe_on_the_command_line";
    if !has("promtool") {
        let how = "promtool is not installed: run `cargo xtask setup` as root";
        return skip(name, SkipReason::Missing(how));
    }
    let site = Site::new();
    let address = site.loopback.at(2, 15_300);
    let _peer = Peer::start(address, |_| Reply::serving().into());
    let finished = site.execute(&[
        "probe",
        &address.to_string(),
        "--mode",
        "black-box",
        "--output",
        "prom",
        "--count",
        "2",
    ]);
    assert_eq!(finished.code, 0, "{finished:?}");
    complaints_are_known("probe", &finished.stdout);
}
