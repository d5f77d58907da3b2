//! Packets that the kernel drops: each in its class, and only the test's own namespace's.

use crate::support::{Bench, elsewhere, namespace};
use insight_agent::collect::kernel::Kernel;
use insight_agent::collect::kernel::settings::{Scope, Settings};
use insight_agent::model::kernel::{Reason, State};
use insight_common::kernel::drops::DropClass;
use insight_common::kernel::loss::Measurement;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt};
use std::collections::BTreeMap;
use std::fs::{File, read_to_string};
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

const PACKETS: u64 = 20;

/// The programs, for packets of this thread's namespace only.
fn start(name: &str) -> Option<Bench> {
    let here = namespace();
    Bench::start(name, &[Measurement::Drops], |settings| settings.scope.namespaces = vec![here])
}

/// Drops so far, without classes that have none.
fn drops(bench: &Bench) -> BTreeMap<&'static str, u64> {
    let snapshot = bench.snapshot();
    let counted = DropClass::ALL.map(|class| (class.name(), snapshot.count(class.counter()).unwrap()));
    counted.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Waits until these drops, and no others, are counted.
#[track_caller]
fn assert_drops(bench: &Bench, wanted: &[(&'static str, u64)]) {
    let wanted: BTreeMap<_, _> = wanted.iter().copied().collect();
    let deadline = Instant::now() + Duration::from_secs(5);
    while drops(bench) != wanted && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(drops(bench), wanted);
}

/// Sends to a port of this thread's namespace that nobody listens on.
fn send_to_nobody() {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Not connected, so that the answers are no errors of the next send.
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..PACKETS {
        sender.send_to(b"x", nobody).unwrap();
    }
}

#[test]
fn datagrams_for_nobody_are_counted_where_they_were_sent_and_nowhere_else() {
    let name = "datagrams_for_nobody_are_counted_where_they_were_sent_and_nowhere_else";
    elsewhere(|| {
        let Some(bench) = start(name) else { return };
        let outside = || {
            setns(File::open("/proc/self/ns/net").unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            send_to_nobody();
        };
        std::thread::scope(|threads| threads.spawn(outside).join().unwrap());
        assert_drops(&bench, &[]);
        send_to_nobody();
        assert_drops(&bench, &[("no_socket", PACKETS)]);
    });
}

/// `RcvbufErrors` of this thread's namespace.
fn full_buffers() -> u64 {
    let snmp = read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut rows = snmp.lines().filter(|line| line.starts_with("Udp:")).map(str::split_whitespace);
    let (mut names, mut values) = (rows.next().unwrap(), rows.next().unwrap());
    let at = names.position(|name| name == "RcvbufErrors").unwrap();
    values.nth(at).unwrap().parse().unwrap()
}

#[test]
fn what_a_full_socket_cannot_take_is_what_the_kernel_counts_itself() {
    let name = "what_a_full_socket_cannot_take_is_what_the_kernel_counts_itself";
    elsewhere(|| {
        let Some(bench) = start(name) else { return };
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        setsockopt(&receiver, sockopt::RcvBuf, &4_096).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..50 {
            sender.send_to(&[0; 1_000], receiver.local_addr().unwrap()).unwrap();
        }
        let full = full_buffers();
        assert!((30..50).contains(&full), "{full} of 50 found it full");
        assert_drops(&bench, &[("rcvbuf", full)]);
        // What it has taken is thrown away with it, which is no fault and no drop of this class.
        drop(receiver);
        assert!(drops(&bench)["rcvbuf"] == full, "{:?}", drops(&bench));
    });
}

/// What the queue discipline of the loopback device has dropped.
fn queue_drops() -> u64 {
    let shown = Command::new("tc").args(["-s", "qdisc", "show", "dev", "lo"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let after = shown.split("(dropped ").nth(1).unwrap_or_else(|| panic!("no count in {shown}"));
    after.split(',').next().unwrap().parse().unwrap()
}

#[test]
fn what_a_short_queue_has_no_room_for_is_a_drop_of_its_qdisc() {
    let name = "what_a_short_queue_has_no_room_for_is_a_drop_of_its_qdisc";
    elsewhere(|| {
        let Some(bench) = start(name) else { return };
        let shape =
            ["qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1mbit", "burst", "2k", "limit", "4k"];
        assert!(Command::new("tc").args(shape).status().unwrap().success());
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..50 {
            // It is told that there was no room: that is the point.
            let _ = sender.send_to(&[0; 1_000], receiver.local_addr().unwrap());
        }
        let dropped = queue_drops();
        assert!((20..50).contains(&dropped), "{dropped} of 50 found no room");
        assert_drops(&bench, &[("qdisc", dropped)]);
    });
}

#[test]
fn a_scope_that_a_packet_cannot_be_told_by_disables_it_and_nothing_else() {
    let mounts = read_to_string("/proc/self/mountinfo").unwrap();
    let Some(root) = mounts.lines().find(|line| line.contains(" - cgroup2 ")) else {
        let reason = insight_lab::skip::SkipReason::Missing("no cgroup2 is mounted");
        return insight_lab::skip::skip("a_scope_that_a_packet_cannot_be_told_by_disables_it", reason);
    };
    let cgroup = Some(root.split(' ').nth(4).unwrap().into());
    let measurements = vec![Measurement::Drops, Measurement::Resets];
    let scope = Scope { cgroup, ..Scope::default() };
    let kernel = Kernel::start(&Settings { measurements, scope, ..Settings::default() });
    assert_eq!(kernel.state(Measurement::Drops), State::Disabled(Reason::Unscoped));
    assert_ne!(kernel.state(Measurement::Resets), kernel.state(Measurement::Drops));
}
