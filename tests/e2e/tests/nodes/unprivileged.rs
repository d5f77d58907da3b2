//! A whole path whose agents are an ordinary user's, with three capabilities each: nothing that the
//! ledger shows needs more.

use crate::host::HOPS;
use insight_agent::collect::kernel::spec;
use insight_e2e::nodes::{Nodes, status};
use insight_e2e::path::scrape;
use insight_e2e::unprivileged::{can, held, prefix, reachable};
use insight_e2e::wait::wait_until;
use insight_lab::{Fault, Forwarder};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Windows of one second that a figure is the median of.
const WINDOWS: u32 = 5;

/// A program that becomes the agent of an ordinary user. Before, as root, it lets that user read the
/// run's files, which are its owner's: a deployment gives them to the agent's user.
fn agent_of_an_ordinary_user(folder: &Path) -> PathBuf {
    let (program, script) = (reachable(folder), folder.join("unprivileged"));
    let prefix = prefix(&["bpf", "perfmon", "net_admin"]).join(" ");
    let text = format!(
        "#!/bin/sh\nchmod 711 .. . && chmod 644 *.toml report.token receiver-delay-ms && exec {prefix} {} \"$@\"\n",
        program.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    script
}

#[test]
fn agents_of_an_ordinary_user_measure_nginx_and_give_an_injected_delay_back() {
    let test = "agents_of_an_ordinary_user_measure_nginx_and_give_an_injected_delay_back";
    if !can(test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = agent_of_an_ordinary_user(folder.path());
    let Some(mut nodes) = Nodes::start(test, Forwarder::Nginx, |options| {
        options.agent_binary = program;
        options.background_rps = 20.0;
        // What is known of the hops is known from their kernels.
        options.hop_headers = false;
    }) else {
        return;
    };
    nodes.wait_for_the_whole();
    for hop in HOPS {
        let shown = status(nodes.lab.agent(hop).unwrap().admin);
        let state = |name: &str| {
            let all = shown["measurements"].as_array().unwrap();
            let one = all.iter().find(|one| one["name"] == name && one["node"] == hop).unwrap();
            (one["state"].as_str().unwrap().to_owned(), one["reason"].as_str().unwrap().to_owned())
        };
        for spec in spec::ALL.iter().filter(|spec| spec.measurement.is_default()) {
            assert_eq!(state(spec.measurement.name()), ("active".into(), String::new()), "{hop}: {shown:#}");
        }
        // The lab limits each agent to a namespace, which it may not enter.
        assert_eq!(state("seeding"), ("failed".into(), "permission".into()), "{hop}");
    }
    for node in nodes.lab.nodes().iter().filter(|node| node.role == "agent") {
        let held = held(u32::try_from(node.pid.unwrap()).unwrap());
        assert!(
            held.contains_key("kernel") && held.values().all(|held| held.is_empty()),
            "{node:?}: {held:#?}"
        );
    }
    let before = nodes.measure(WINDOWS);
    let (fault, link): (Fault, _) = ("wan-delay=40ms".parse().unwrap(), "link:mediary-a>mediary-b");
    nodes.lab.inject(&fault).unwrap();
    let with = nodes.measure(WINDOWS);
    let moved = |name: &str| with.seconds(name) - before.seconds(name);
    println!("{fault}: {link} {:+.2} ms", moved(link) * 1e3);
    assert_eq!(["rtt_floor", "kernel"], [link, "hop:mediary-a"].map(|name| with.source(name)));
    assert!((0.036..=0.046).contains(&moved(link)), "{before:#?} {with:#?}");
    assert!(moved("hop:mediary-a").abs() < 0.004, "{before:#?} {with:#?}");

    // Another process forwards: its id is written into a map that was opened with more than is left.
    let metrics = nodes.lab.agent("mediary-a").unwrap().metrics;
    let paired = || {
        let shown = scrape(metrics);
        shown.sum("insight_forward_pairs_total", &[("outcome", "paired")]).unwrap()
    };
    let before = paired();
    nodes.lab.restart("mediary-a").unwrap();
    wait_until("pairs of the new nginx", Duration::from_secs(60), || {
        let more = paired() - before;
        // What the old one did since the last reading is much less.
        if more > 500.0 { Ok(()) } else { Err(more.to_string()) }
    });
    nodes.lab.stop().unwrap();
}
