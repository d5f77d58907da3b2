//! The one command for newcomers, as an unprivileged user with nothing but the built programs.

use insight_e2e::demo::{Running, User};
use insight_e2e::path::Turn;
use insight_e2e::wait::wait_until;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::time::Duration;

/// A demo's own time and what a loaded machine may add.
const PATIENCE: Duration = Duration::from_secs(90);

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

#[test]
fn a_newcomer_sees_the_path_and_nothing_is_left_behind() {
    let _turn = Turn::wait();
    let user = User::new();
    let finished = Running::start(user.demo(&["--duration", "20s"])).finish(PATIENCE);
    assert!(finished.status.success(), "{finished:#?}");
    let shown = &finished.stdout;
    for part in ["eu → sg", "hop:mediary-a", "link:mediary-a>mediary-b", "service", "unexplained", "active"]
    {
        assert!(shown.contains(part), "{part} is not shown: {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "escape codes without a terminal: {shown}");
    user.left_nothing();
}

#[test]
fn the_json_form_ends_with_one_object_of_the_documented_shape() {
    let _turn = Turn::wait();
    let user = User::new();
    let arguments = ["--duration", "8s", "--output", "json", "--fault", "gateway-slow=30ms"];
    let finished = Running::start(user.demo(&arguments)).finish(PATIENCE);
    assert!(finished.status.success(), "{finished:#?}");
    let last = finished.stdout.trim_end().lines().next_back().unwrap_or_default();
    let report: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {finished:#?}"));
    for key in
        ["source", "target", "probes_sent", "probes_ok", "e2e_seconds", "ledgers", "measurements", "faults"]
    {
        assert!(keys(&report).contains(&key), "{key} is missing: {report:#}");
    }
    assert_eq!((&report["source"], &report["target"]), (&"eu".into(), &"sg".into()));
    assert_eq!(report["faults"], serde_json::json!(["gateway-slow=30ms"]));
    assert!(
        report["probes_ok"].as_u64() > Some(20) && report["probes_ok"] == report["probes_sent"],
        "{report:#}"
    );
    for figure in ["p50", "p99", "mean"] {
        assert!(report["e2e_seconds"][figure].as_f64() > Some(0.045), "{report:#}");
    }
    let ledger = &report["ledgers"][0];
    assert_eq!(ledger["kind"], "probe");
    assert!(ledger["unexplained_seconds"].is_number(), "{report:#}");
    let segments = ledger["segments"].as_array().map(Vec::as_slice).unwrap_or_default();
    let seconds = |name: &str| {
        let found = segments.iter().find(|segment| segment["name"] == name);
        let found = found.unwrap_or_else(|| panic!("no segment {name}: {report:#}"));
        for key in ["seconds", "source", "population", "count"] {
            assert!(keys(found).contains(&key), "{key} is missing in {found}");
        }
        found["seconds"].as_f64()
    };
    assert!(seconds("hop:gateway-b") > Some(0.026), "{report:#}");
    assert!(seconds("link:mediary-a>mediary-b") > Some(0.015), "{report:#}");
    for name in ["link:insight-eu>mediary-a", "service", "transfer"] {
        assert!(seconds(name) < Some(0.004), "{name}: {report:#}");
    }
    for measurement in report["measurements"].as_array().map(Vec::as_slice).unwrap_or_default() {
        for key in ["node", "name", "state", "reason"] {
            assert!(keys(measurement).contains(&key), "{key} is missing in {measurement}");
        }
    }
    user.left_nothing();
}

#[test]
fn a_path_that_is_down_is_null_and_never_zero() {
    let _turn = Turn::wait();
    let user = User::new();
    let arguments = ["--duration", "6s", "--output", "json", "--fault", "mediary-a-down"];
    let finished = Running::start(user.demo(&arguments)).finish(PATIENCE);
    assert!(finished.status.success(), "{finished:#?}");
    let last = finished.stdout.trim_end().lines().next_back().unwrap_or_default();
    let report: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {finished:#?}"));
    // A probe or two may pass before the mediary is taken down.
    let (sent, ok) = (report["probes_sent"].as_u64().unwrap_or(0), report["probes_ok"].as_u64());
    assert!(sent > 10 && ok < Some(5), "{report:#}");
    if ok == Some(0) {
        assert!(
            report["e2e_seconds"]["p50"].is_null() && report["e2e_seconds"]["mean"].is_null(),
            "{report:#}"
        );
    }
    assert!(!report["ledgers"].as_array().is_none_or(Vec::is_empty), "{report:#}");
    for segment in report["ledgers"][0]["segments"].as_array().map(Vec::as_slice).unwrap_or_default() {
        assert!(segment["seconds"].is_null(), "{segment}");
    }
    user.left_nothing();
}

#[test]
fn on_a_terminal_it_draws_a_live_view_and_gives_the_terminal_back() {
    let _turn = Turn::wait();
    let user = User::new();
    // `script` gives the demo a terminal of its own, as a person would have.
    let xtask = user.programs().join("xtask");
    let demo = format!("stty rows 30 cols 100; exec {} demo --duration 6s", xtask.display());
    let mut command = user.command("script");
    command.args(["--quiet", "--return", "--command", &demo, "/dev/null"]);
    let finished = Running::start(command).finish(PATIENCE);
    assert!(finished.status.success(), "{finished:#?}");
    let (enter, leave) = ("\u{1b}[?1049h", "\u{1b}[?1049l");
    let entered = finished.stdout.find(enter).expect("the view takes a screen of its own");
    let left = finished.stdout.rfind(leave).expect("and gives the terminal back");
    assert!(entered < left && finished.stdout[entered..left].contains("mediary-a"), "{finished:#?}");
    user.left_nothing();
}

#[test]
fn a_killed_demo_takes_its_processes_along_and_the_next_one_tidies_up() {
    let _turn = Turn::wait();
    let user = User::new();
    let demo = Running::start(user.demo(&["--duration", "120s"]));
    wait_until("a running demo", PATIENCE, || {
        let shown = demo.so_far();
        if shown.contains("hop:mediary-a") { Ok(()) } else { Err(shown) }
    });
    demo.signal(Signal::SIGKILL);
    demo.finish(PATIENCE);
    wait_until("the children's end", Duration::from_secs(10), || {
        let left = user.processes();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
    });
    assert!(
        !user.files().is_empty(),
        "a killed demo cannot have tidied up; is this test looking at the right place?"
    );
    let next = Running::start(user.demo(&["--duration", "3s"])).finish(PATIENCE);
    assert!(next.status.success(), "{next:#?}");
    user.left_nothing();
}

#[test]
fn a_fault_that_does_not_exist_is_refused_with_the_list() {
    let user = User::new();
    let finished = Running::start(user.demo(&["--fault", "gateway-slwo=30ms"])).finish(PATIENCE);
    assert!(!finished.status.success());
    assert!(finished.stderr.contains("gateway-slow"), "{finished:#?}");
    user.left_nothing();
}
