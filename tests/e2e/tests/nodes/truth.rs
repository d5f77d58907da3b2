//! A known delay, injected at one place, comes back at that place and nowhere else.

use insight_e2e::nodes::{Entry, Measured, Nodes, NodesLedger};
use insight_lab::{Fault, Forwarder, NodePlace};
use std::fs;
use std::ops::RangeInclusive;
use std::process::Command;
use std::time::Duration;

/// Windows of one second that a figure is the median of.
const WINDOWS: u32 = 5;
/// How far an entry may move that the fault does not touch, in seconds.
const QUIET: f64 = 0.004;

/// A fault, the entry it must appear in, and what that entry must rise by, in seconds.
const CASES: [(&str, &str, RangeInclusive<f64>); 3] = [
    ("wan-delay=40ms", "link:mediary-a>mediary-b", 0.036..=0.046),
    ("gateway-slow=30ms", "hop:gateway-b", 0.026..=0.036),
    ("service-slow=30ms", "service", 0.026..=0.036),
];

fn every_fault_in_turn(nodes: &mut Nodes) -> Measured {
    nodes.wait_for_the_whole();
    let before = nodes.measure(WINDOWS);
    println!("without fault: {before:#?}");
    for (fault, place, rise) in CASES {
        let fault: Fault = fault.parse().unwrap();
        nodes.lab.inject(&fault).unwrap();
        let with = nodes.measure(WINDOWS);
        nodes.lab.clear(&fault).unwrap();
        judge(&fault, place, &rise, &before, &with);
    }
    before
}

fn judge(fault: &Fault, place: &str, rise: &RangeInclusive<f64>, before: &Measured, with: &Measured) {
    let moved = |name: &str| with.seconds(name) - before.seconds(name);
    let here = moved(place);
    let others: Vec<(&str, f64)> = before
        .seconds
        .keys()
        .filter(|name| ![place, "end-to-end"].contains(&name.as_str()))
        .map(|name| (name.as_str(), moved(name)))
        .collect();
    let widest = others.iter().map(|(_, moved)| moved.abs()).fold(0.0, f64::max);
    println!("{fault}: {place} {:+.2} ms, the others at most {:.2} ms", here * 1e3, widest * 1e3);
    assert!(rise.contains(&here), "{fault}: {place} moved by {here} s, not {rise:?}: {before:#?} {with:#?}");
    for (name, moved) in others {
        assert!(moved.abs() <= QUIET, "{fault}: {name} moved by {moved} s: {before:#?} {with:#?}");
    }
}

fn injected_truth_comes_back(test: &str, forwarder: Forwarder) {
    let mut alone = None;
    for background_rps in [0.0, 50.0] {
        println!("{forwarder}, {background_rps} requests/s of other traffic");
        let Some(mut nodes) =
            Nodes::start(test, forwarder, |options| options.background_rps = background_rps)
        else {
            return;
        };
        let quiet = every_fault_in_turn(&mut nodes);
        nodes.lab.stop().unwrap();
        for hop in ["hop:mediary-a", "hop:mediary-b", "hop:gateway-b"] {
            assert_eq!(quiet.source(hop), "kernel", "{hop}: {quiet:#?}");
        }
        let alone: &Measured = alone.get_or_insert(quiet.clone());
        for (name, seconds) in &quiet.seconds {
            let apart = seconds - alone.seconds(name);
            assert!(apart.abs() <= QUIET, "other traffic moves {name} by {apart} s: {alone:#?} {quiet:#?}");
        }
    }
}

#[test]
fn nginx_mediaries_give_injected_delays_back() {
    injected_truth_comes_back("nginx_mediaries_give_injected_delays_back", Forwarder::Nginx);
}

#[test]
fn haproxy_mediaries_give_injected_delays_back() {
    injected_truth_comes_back("haproxy_mediaries_give_injected_delays_back", Forwarder::Haproxy);
}

/// The hops write no headers: what is known of them is known from their kernels.
fn a_busy_mediary_is_found_by_its_kernel(test: &str, forwarder: Forwarder) {
    let Some(mut nodes) = Nodes::start(test, forwarder, |options| {
        options.hop_headers = false;
        options.background_rps = 50.0;
    }) else {
        return;
    };
    nodes.wait_for_the_whole();
    let before = nodes.measure(WINDOWS);
    let (fault, with) = until_the_path_is_slower(&mut nodes, forwarder, &before);
    let sources = [&before, &with].map(|measured| measured.source("hop:mediary-a"));
    assert_eq!(sources, ["kernel"; 2], "{before:#?} {with:#?}");
    let moved = |name: &str| with.seconds(name) - before.seconds(name);
    // Of the same order as what the path lost, and no other entry's: a mean over all requests of the node, the
    // probe's mean, and medians over a few windows of each are not the same figure on a CPU that is fought for.
    let total = moved("end-to-end");
    println!("end to end {:+.2} ms", total * 1e3);
    judge(&fault, "hop:mediary-a", &(0.4 * total..=0.5), &before, &with);
    let none_to_blame = ["hop:mediary-a", "end-to-end", "unexplained"];
    for name in before.seconds.keys().filter(|name| !none_to_blame.contains(&name.as_str())) {
        let (other, here) = (moved(name), moved("hop:mediary-a"));
        assert!(1.5 * other <= here, "{fault}: {name} moved by {other} s, the busy hop by {here} s");
    }
    nodes.lab.stop().unwrap();
}

/// Competitors for mediary-a's CPU, more and more, then such that the scheduler gives more than the
/// forwarder (its niceness), until the path takes 6 ms more: a scheduler favours whoever sleeps most, so
/// what that takes depends on the forwarder and on the machine. Gives the path as it was then.
fn until_the_path_is_slower(nodes: &mut Nodes, forwarder: Forwarder, before: &Measured) -> (Fault, Measured) {
    let forwarder = threads_of(forwarder, nodes.lab.place("mediary-a").unwrap());
    // In small steps: a forwarder that is far too slow reads several requests at once, and then its kernel cannot
    // tell whose time it was.
    let crowds = (6..=36).step_by(6).map(|competitors| (competitors, 0));
    let favours = [1, 2, 3, 5, 7, 10, 19].map(|niceness| (36, niceness));
    for (competitors, niceness) in crowds.chain(favours) {
        let fault = Fault::MediaryABusy(competitors);
        renice(&forwarder, niceness);
        nodes.lab.inject(&fault).unwrap();
        let with = nodes.measure(WINDOWS + 2);
        let slower = with.seconds("end-to-end") - before.seconds("end-to-end");
        println!("{fault}, niceness {niceness}: end to end {:+.2} ms", slower * 1e3);
        if slower >= 0.006 {
            nodes.lab.clear(&fault).unwrap();
            return (fault, with);
        }
    }
    panic!("36 threads on its CPU do not slow {before:#?} down");
}

/// The threads of the forwarder's own processes at a node.
fn threads_of(forwarder: Forwarder, place: &NodePlace) -> Vec<String> {
    let processes = fs::read_to_string(place.cpu_cgroup.join("cgroup.procs")).unwrap();
    let named =
        |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim() == forwarder.to_string();
    let tasks = processes.lines().filter(named).map(|pid| fs::read_dir(format!("/proc/{pid}/task")).unwrap());
    let threads: Vec<_> =
        tasks.flatten().map(|task| task.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!threads.is_empty(), "no process is named {forwarder}: {processes}");
    threads
}

fn renice(threads: &[String], niceness: i32) {
    let told =
        Command::new("renice").args(["-n", &niceness.to_string(), "-p"]).args(threads).output().unwrap();
    assert!(told.status.success(), "renice: {}", String::from_utf8_lossy(&told.stderr));
}

#[test]
fn a_busy_nginx_is_found_by_its_kernel_alone() {
    a_busy_mediary_is_found_by_its_kernel("a_busy_nginx_is_found_by_its_kernel_alone", Forwarder::Nginx);
}

#[test]
fn a_busy_haproxy_is_found_by_its_kernel_alone() {
    a_busy_mediary_is_found_by_its_kernel("a_busy_haproxy_is_found_by_its_kernel_alone", Forwarder::Haproxy);
}

#[test]
fn shared_connections_never_make_a_link_shorter() {
    let test = "shared_connections_never_make_a_link_shorter";
    for links in [true, false] {
        let Some(mut nodes) = Nodes::start(test, Forwarder::Haproxy, |options| {
            options.background_rps = 200.0;
            // Without link probes nobody opens a connection over the WAN while requests go on.
            options.link_probes = links;
        }) else {
            return;
        };
        nodes.wait_for("an entry that the link is in", |ledger| over_the_wan(ledger).map(|_| ()));
        let wan: Fault = "wan-delay=40ms".parse().unwrap();
        nodes.lab.inject(&wan).unwrap();
        std::thread::sleep(Duration::from_secs(6));
        let mut read = Vec::new();
        for _ in 0..9 {
            std::thread::sleep(Duration::from_secs(1));
            let ledger = nodes.ledger().unwrap();
            let (name, link) = over_the_wan(&ledger).unwrap();
            println!("link probes {links}: {name} {:?} of {:?}", link.seconds, link.source);
            // Its own 20 ms, and the 40 of the fault.
            assert!(link.seconds.is_none_or(|seconds| seconds >= 0.056), "{ledger:#?}");
            read.extend(link.seconds);
        }
        read.sort_by(f64::total_cmp);
        let median = read.get(read.len() / 2);
        assert!(median.is_none_or(|seconds| *seconds <= 0.066), "{read:?}");
        assert!(!links || read.len() > 5, "a link probe knows it: {read:?}");
        nodes.lab.stop().unwrap();
    }
}

/// The entry that the WAN is in: alone, or with the hops beside it.
fn over_the_wan(ledger: &NodesLedger) -> Option<(&str, &Entry)> {
    let wan = |name: &str| name.ends_with(">mediary-b") || name.ends_with(">gateway-b");
    ledger.entries.iter().find(|(name, _)| wan(name)).map(|(name, entry)| (name.as_str(), entry))
}
