//! The one command for newcomers, as an unprivileged user with nothing but the built programs; and
//! as root, where it shows more and has more to tidy up.

use insight_e2e::demo::{Running, User};
use insight_e2e::http;
use insight_e2e::path::Turn;
use insight_e2e::traces::Traces;
use insight_e2e::wait::wait_until;
use insight_lab::skip::{SkipReason, skip};
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

// ---- As root, in namespaces ----------------------------------------------------------------

/// Whether the demo can have namespaces and nginx; declares the test skipped when not.
fn namespaces_and_nginx(test: &str) -> bool {
    if let Err(reason) = insight_lab::namespaces_available() {
        skip(test, SkipReason::Missing(&format!("{reason} (run the tests as root, with iproute2)")));
        return false;
    }
    if insight_lab::nginx_available().is_none() || insight_lab::haproxy_available().is_none() {
        skip(test, SkipReason::Missing("nginx or haproxy is not installed: run `cargo xtask setup` as root"));
        return false;
    }
    true
}

/// Starts a demo in namespaces and waits until it shows the path; with what it holds then.
fn in_namespaces(user: &User) -> (Running, Traces) {
    let demo = Running::start(user.demo(&["--forwarder", "nginx", "--duration", "120s"]));
    wait_until("the path in a running demo", PATIENCE, || {
        let shown = demo.so_far();
        if shown.contains("hop:mediary-a") { Ok(()) } else { Err(shown) }
    });
    let traces = Traces::of(user, &demo.so_far()).expect("a running demo has said where its logs are");
    assert!(!traces.held().is_empty(), "is this test looking at the right place? {traces:?}");
    (demo, traces)
}

#[test]
fn root_sees_both_ledgers_and_every_node_and_nothing_is_left_behind() {
    let test = "root_sees_both_ledgers_and_every_node_and_nothing_is_left_behind";
    let _turn = Turn::wait();
    if !namespaces_and_nginx(test) {
        return;
    }
    let user = User::root();
    let arguments =
        ["--forwarder", "nginx", "--duration", "16s", "--background", "10", "--fault", "mediary-a-busy"];
    let demo = Running::start(user.demo(&arguments));
    let status = wait_until("both ledgers", PATIENCE, || {
        let shown = demo.so_far();
        let address = shown.split_once("status http://").and_then(|(_, rest)| rest.split('/').next());
        let address = address.and_then(|address| address.parse().ok()).ok_or_else(|| shown.clone())?;
        let answer = http::get(address, "/api/v1/status", &[]).map_err(|error| error.to_string())?.body;
        let status: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
        let ledgers = status["paths"][0]["ledgers"].as_array().map_or(0, Vec::len);
        if ledgers > 1 { Ok(status) } else { Err(answer) }
    });
    let traces = Traces::of(&user, &demo.so_far()).expect("it has said where its logs are");
    let finished = demo.finish(PATIENCE);
    assert!(finished.status.success(), "{finished:#?}");
    let told = &finished.stderr;
    for part in ["a namespace of its own", "mediary-a metrics", "gateway-b metrics"] {
        assert!(told.contains(part), "{part} is not said: {told}");
    }
    let shown = &finished.stdout;
    for part in
        ["hop:mediary-a", "unexplained", "evidence", "fault mediary-a-busy", "measurements", "insight-eu"]
    {
        assert!(shown.contains(part), "{part} is not shown: {shown}");
    }
    let ledgers = status["paths"][0]["ledgers"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(ledgers.iter().any(|ledger| ledger["kind"] == "window"), "{status:#}");
    for part in [" probe", " window", "age", "kernel*", "rtt_floor*"] {
        assert!(shown.contains(part), "{part} is not shown: {shown}");
    }
    assert_eq!(traces.held(), Vec::<String>::new());
    user.left_nothing();
}

#[test]
fn control_c_in_namespaces_leaves_nothing_behind() {
    let test = "control_c_in_namespaces_leaves_nothing_behind";
    let _turn = Turn::wait();
    if !namespaces_and_nginx(test) {
        return;
    }
    let user = User::root();
    let (demo, traces) = in_namespaces(&user);
    demo.signal(Signal::SIGINT);
    let finished = demo.finish(PATIENCE);
    assert!(finished.status.success(), "{finished:#?}");
    assert_eq!(traces.held(), Vec::<String>::new());
    user.left_nothing();
}

#[test]
fn a_demo_killed_in_namespaces_leaves_nothing_after_the_next_start() {
    let test = "a_demo_killed_in_namespaces_leaves_nothing_after_the_next_start";
    let _turn = Turn::wait();
    if !namespaces_and_nginx(test) {
        return;
    }
    let user = User::root();
    let (demo, traces) = in_namespaces(&user);
    assert!(traces.programs() > 0, "no agent measures in the kernel: {}", demo.so_far());
    demo.signal(Signal::SIGKILL);
    demo.finish(PATIENCE);
    wait_until("the children's end", Duration::from_secs(10), || {
        let left = user.processes();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
    });
    assert!(
        !traces.held().is_empty(),
        "nobody was left to tidy up; is this test looking at the right place?"
    );
    // On loopback: also a start without namespaces removes those of the dead.
    let next = Running::start(user.demo(&["--isolation", "loopback", "--duration", "3s"])).finish(PATIENCE);
    assert!(next.status.success(), "{next:#?}");
    assert_eq!(traces.held(), Vec::<String>::new());
    user.left_nothing();
}

#[test]
fn without_root_namespaces_are_refused_with_a_way_out_and_not_needed() {
    let user = User::new();
    let refused = Running::start(user.demo(&["--isolation", "namespaces"])).finish(PATIENCE);
    assert!(!refused.status.success() && refused.stderr.contains("root"), "{refused:#?}");
    let fault = Running::start(user.demo(&["--fault", "mediary-a-busy"])).finish(PATIENCE);
    assert!(!fault.status.success() && fault.stderr.contains("--isolation namespaces"), "{fault:#?}");
    user.left_nothing();
}
