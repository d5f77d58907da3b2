//! One name with an address of each version, of which the IPv6 one is slow; then gone.

use crate::{answered, failed, mean};
use insight_e2e::agent::{Config, Site, binary, execute};
use insight_e2e::peers::grpc::{Peer, Reply};
use insight_lab::skip::{SkipReason, skip};
use serde_json::Value;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

const SLOW: Duration = Duration::from_millis(150);

/// A port of ::1 that nobody has: there is one such address on a host, and not a block for each test. **None**:
/// what is missing has been told.
fn port_of_both(test: &str) -> Option<u16> {
    if !nix::unistd::geteuid().is_root() {
        skip(test, SkipReason::Missing("a mount namespace needs root"));
        return None;
    }
    let port = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    if port.is_err() {
        skip(test, SkipReason::Missing("this host has no IPv6 loopback"));
    }
    Some(port.ok()?.port())
}

/// The program in a mount namespace with names of its own.
fn with_hosts(site: &Site, text: &str) -> Command {
    let file = site.write("hosts", text);
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$0\" \"$(readlink -f /etc/hosts)\" && exec \"$@\"";
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(file);
    command
}

#[test]
fn both_versions_of_a_name_are_measured_apart_and_one_that_is_missing_is_a_failed_lookup() {
    const TEST: &str =
        "both_versions_of_a_name_are_measured_apart_and_one_that_is_missing_is_a_failed_lookup";
    let Some(port) = port_of_both(TEST) else { return };
    let site = Site::new();
    let (v4, v6) = (site.loopback.at(3, port), SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    let _fast = Peer::healthy(v4);
    let _slow = Peer::start(v6, |_| Reply::serving().after(SLOW).into());
    let ip = v4.ip();
    let hosts = with_hosts(&site, &format!("::1 dual.test\n{ip} dual.test\n{ip} old.test\n"));
    let address = |name: &str| format!("{name}.test:{}", v4.port());
    let lines = "deadline = \"5s\"\nconnections = [\"reused\", \"fresh\"]\n";
    let config = Config::new()
        .probe("dual", "sg", &address("dual"), &format!("{lines}ip = \"both\""))
        .probe("old", "sg", &address("old"), &format!("{lines}ip = \"6\""))
        .probe("any", "sg", &address("dual"), lines);
    let agent = site.start_through(hosts, &config);
    let seen = agent.wait_for("ten samples of each", |seen| {
        let all = ["dual/ipv4", "dual/ipv6", "any"];
        let enough = all.iter().all(|probe| {
            ["reused", "fresh"].iter().all(|connection| answered(seen, probe, connection) >= 10.0)
        });
        (enough && failed(seen, "old", "dns", "dns") >= 6.0).then(|| seen.clone())
    });
    for connection in ["reused", "fresh"] {
        let wait = |probe| {
            let of = [("probe", probe), ("connection", connection), ("phase", "wait")];
            mean(&seen, "insight_probe_phase_seconds", &of).unwrap()
        };
        let (v4, v6) = (wait("dual/ipv4"), wait("dual/ipv6"));
        assert!(v4 < SLOW.as_secs_f64() && v6 >= SLOW.as_secs_f64(), "{connection}: {v4} and {v6}");
        assert!(v6 < SLOW.as_secs_f64() + 0.1, "the delay comes back as itself: {v6}");
    }
    let names = |seen: &insight_e2e::exposition::Exposition| {
        let samples = seen.samples("insight_probe_skipped_total", &[("connection", "reused")]);
        samples.map(|sample| sample.labels["probe"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&seen), ["any", "dual/ipv4", "dual/ipv6", "old"]);
    let detail = agent.probe_status("old")["last_failure"]["detail"].to_string();
    assert!(detail.contains("1 addresses, and none of IPv6") && detail.contains("old.test"), "{detail}");
}

#[test]
fn a_one_shot_shows_both_versions_of_a_name_apart() {
    let Some(port) = port_of_both("a_one_shot_shows_both_versions_of_a_name_apart") else { return };
    let site = Site::new();
    let (v4, v6) = (site.loopback.at(3, port), SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    let _fast = Peer::healthy(v4);
    let _slow = Peer::start(v6, |_| Reply::serving().after(SLOW).into());
    let ip = v4.ip();
    let text = format!("::1 dual.test\n{ip} dual.test\n{ip} old.test\n");
    let probe = |name: &str, more: &[&str]| {
        let mut command = with_hosts(&site, &text);
        command.arg(binary()).args([
            "probe",
            &format!("{name}.test:{port}"),
            "--mode",
            "black-box",
            "--count",
            "3",
        ]);
        command.args(["--interval", "10ms", "--output", "json"]).args(more);
        let finished = execute(command, "probe", &site.path("stdout"), &site.path("stderr"));
        let report: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}"));
        (finished.code, report)
    };
    let (code, both) = probe("dual", &["--ip", "both"]);
    assert_eq!((code, &both["exit_code"]), (0, &0.into()), "{both}");
    // The least of each: a loaded host makes some samples longer, and none shorter.
    let wait = |version: &str| {
        let samples = both[version]["samples"].as_array().unwrap();
        let waits = samples.iter().map(|sample| sample["phases"]["wait_seconds"].as_f64().unwrap());
        waits.reduce(f64::min).unwrap()
    };
    let (v4, v6) = (wait("ipv4"), wait("ipv6"));
    assert!(v4 < SLOW.as_secs_f64() && v6 >= SLOW.as_secs_f64(), "{v4} and {v6}");
    assert!(v6 < SLOW.as_secs_f64() + 0.1, "the delay comes back as itself: {v6}");
    let (code, old) = probe("old", &["--ip", "both"]);
    assert_eq!(
        (code, &old["ipv4"]["exit_code"], &old["ipv6"]["exit_code"]),
        (1, &0.into(), &3.into()),
        "{old}"
    );
    let failed = &old["ipv6"]["samples"][0];
    assert_eq!((&failed["failure_class"], &failed["failure_phase"]), (&"dns".into(), &"dns".into()));
    assert!(failed["detail"].as_str().unwrap().contains("none of IPv6"), "{failed}");
    let (code, alone) = probe("dual", &["--ip", "6"]);
    assert_eq!((code, &alone["ip"]), (0, &"6".into()), "{alone}");
}
