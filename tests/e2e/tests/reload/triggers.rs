//! What asks for a reload, and what it answers.

use super::reloaded;
use insight_e2e::agent::{Agent, Config, Site};
use insight_e2e::http;
use insight_e2e::peers::grpc::{Deed, Peer};
use insight_e2e::wait::{PATIENCE, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::symlink;

const PORT: u16 = 8443;

fn probes(agent: &Agent) -> Vec<String> {
    let seen = agent.scrape();
    let samples = seen.samples("insight_probe_results_total", &[("status", "OK")]);
    samples.map(|sample| sample.labels["probe"].clone()).collect()
}

fn wait_for_probes(agent: &Agent, expected: &[&str]) {
    wait_until("other probes", PATIENCE, || {
        let now = probes(agent);
        if now == expected { Ok(()) } else { Err(format!("{now:?}; {}", agent.log())) }
    });
}

#[test]
fn a_signal_and_a_post_reload_and_a_get_does_not() {
    let site = Site::new();
    let address = site.loopback.at(2, PORT);
    let _peer = Peer::healthy(address);
    let address = address.to_string();
    let config = |name: &str| Config::new().probe(name, "far", &address, "");
    let agent = site.start(&config("a"));
    site.write("insight.toml", &config("b").render(&site));
    assert_eq!(agent.admin("/-/reload", &[]).status, 405);
    assert_eq!(probes(&agent), ["a"]);
    kill(Pid::from_raw(agent.process.pid() as i32), Signal::SIGHUP).unwrap();
    wait_for_probes(&agent, &["b"]);
    site.write("insight.toml", &config("c").render(&site));
    assert_eq!(reloaded(&site)["started"], serde_json::json!(["c"]));
    assert_eq!(probes(&agent), ["c"], "when it has answered");
    agent.probe_status("c");
    let log = agent.log();
    assert!(log.contains("SIGHUP: probes: 0 kept, 1 started, 0 replaced, 1 stopped"), "{log}");
}

#[test]
fn a_watched_file_counts_when_it_is_replaced_and_a_bad_one_does_not() {
    let site = Site::new();
    let address = site.loopback.at(2, PORT);
    let _peer = Peer::healthy(address);
    let address = address.to_string();
    let config = |name: &str| Config::new().agent("watch_config = true").probe(name, "far", &address, "");
    let agent = site.start(&config("a"));
    // As editors do.
    site.write("new", &config("b").render(&site));
    fs::rename(site.path("new"), site.path("insight.toml")).unwrap();
    wait_for_probes(&agent, &["b"]);
    site.write("insight.toml", "[[probe");
    agent.wait_for("a failed reload", |seen| {
        (seen.value("insight_config_last_reload_successful", &[])? == 0.0).then_some(())
    });
    assert_eq!(probes(&agent), ["b"]);
    // As a kubelet does: the path leads through a link that is swapped.
    for (version, name) in [("v1", "c"), ("v2", "d")] {
        fs::create_dir(site.path(version)).unwrap();
        fs::write(site.path(version).join("insight.toml"), config(name).render(&site)).unwrap();
        symlink(version, site.path("next")).unwrap();
        fs::rename(site.path("next"), site.path("data")).unwrap();
        if version == "v1" {
            symlink("data/insight.toml", site.path("link")).unwrap();
            fs::rename(site.path("link"), site.path("insight.toml")).unwrap();
        }
        wait_for_probes(&agent, &[name]);
    }
    let seen = agent.scrape();
    assert_eq!(seen.value("insight_config_last_reload_successful", &[]), Some(1.0));
}

#[test]
fn what_takes_a_restart_is_named_and_shown_until_the_file_says_it_no_more() {
    let site = Site::new();
    let agent = site.start(&Config::new());
    let file = Config::new().render(&site);
    site.write(
        "insight.toml",
        &file.replace("[metrics]\n", "[metrics]\nlisten = \"127.0.0.1:1\"\n").replacen(
            &format!("listen = \"{}\"\n", site.metrics()),
            "",
            1,
        ),
    );
    assert_eq!(reloaded(&site)["restart_required"], serde_json::json!(["[metrics]"]));
    let shown = || agent.scrape().value("insight_config_restart_required", &[]);
    assert_eq!(shown(), Some(1.0));
    site.write("insight.toml", &file);
    assert_eq!(reloaded(&site)["restart_required"], serde_json::json!([]));
    assert_eq!(shown(), Some(0.0));
}

#[test]
fn a_retired_probe_that_hangs_is_gone_from_every_page_at_once() {
    let site = Site::new();
    let address = site.loopback.at(2, PORT);
    let hanging = Peer::start(address, |_| Deed::Hang);
    let lines = "deadline = \"1s\"\ndrain = \"1s\"\nconnections = [\"reused\", \"fresh\"]";
    let agent = site.start(&Config::new());
    let pid = agent.process.pid();
    let sockets = || {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let targets = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    };
    let at_rest = sockets();
    site.write(
        "insight.toml",
        &Config::new().probe("hanging", "far", &address.to_string(), lines).render(&site),
    );
    assert_eq!(reloaded(&site)["started"], serde_json::json!(["hanging"]));
    agent.probe_status("hanging");
    wait_until("calls", PATIENCE, || (hanging.calls() >= 4).then_some(()).ok_or_else(String::new));
    site.write("insight.toml", &Config::new().render(&site));
    assert_eq!(reloaded(&site)["stopped"], serde_json::json!(["hanging"]));
    let nowhere = || {
        let named = |page: &str| page.lines().find(|line| line.contains("hanging")).map(str::to_owned);
        named(&agent.metrics_text()).or_else(|| named(&agent.status().to_string()))
    };
    assert_eq!(nowhere(), None);
    // Its calls end at their deadline, its connections with them.
    assert!(sockets() > at_rest + 4, "some hang");
    wait_until("closed connections", PATIENCE, || {
        // One may be left of the pages that were just read.
        let open = sockets().saturating_sub(at_rest + 1);
        if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
    });
    assert_eq!(nowhere(), None, "also when they have ended");
    http::get(site.metrics(), "/-/ready", &[]).unwrap();
}
