//! Connections that are slow to begin: to connect, and to be accepted.

use crate::support::{Bench, GROUP, REQUEST, assert_mean};
use insight_common::kernel::layout::{Counter, Distribution, Group};
use insight_common::kernel::loss::Measurement;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, listen, socket};
use nix::sys::socket::{Backlog, connect, setsockopt, sockopt};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How often an event of the test's own group happened.
fn count(bench: &Bench, counter: Counter) -> u64 {
    bench.snapshot().counts[&(counter, Group::of_peer(GROUP))]
}

fn tcp(flags: SockFlag) -> OwnedFd {
    socket(AddressFamily::Inet, SockType::Stream, flags | SockFlag::SOCK_CLOEXEC, None).unwrap()
}

/// A listener with room for one connection.
fn narrow() -> TcpListener {
    let listener = tcp(SockFlag::empty());
    bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    TcpListener::from(listener)
}

#[test]
fn a_connection_that_finds_no_room_takes_as_long_as_its_next_try() {
    let name = "a_connection_that_finds_no_room_takes_as_long_as_its_next_try";
    let wanted = [Measurement::Connect, Measurement::AcceptWait, Measurement::Retransmits];
    let Some(bench) = Bench::start_on(narrow(), name, &wanted, |_| {}) else { return };
    let address = bench.listener.local_addr().unwrap();
    let full = |bench: &Bench| bench.snapshot().count(Counter::ListenFull).unwrap();
    let before = full(&bench);
    let first = TcpStream::connect(address).unwrap();
    assert!(full(&bench) > before, "one more than was asked for is the last one that fits");
    let second = std::thread::spawn(move || {
        let start = Instant::now();
        (TcpStream::connect(address).unwrap(), start.elapsed())
    });
    // Its SYN is dropped, and sent again after a second.
    std::thread::sleep(Duration::from_millis(300));
    let (accepted, _) = bench.listener.accept().unwrap();
    let (_second, seen) = second.join().unwrap();
    let connects = bench.wait_for(Distribution::Connect, 2);
    assert!(seen > Duration::from_millis(900), "the second one connected in {seen:?}");
    let slowest = connects.quantile_ns(1.0).unwrap();
    let seen = seen.as_nanos() as f64;
    assert!((seen * 0.85..seen * 1.15).contains(&slowest), "{slowest} ns is not {seen}");
    assert!((connects.sum_ns as f64) < seen + 100e6, "{} ns in all, {seen} ns of them seen", connects.sum_ns);
    assert!(count(&bench, Counter::RetransmitSyn) >= 1);
    assert_eq!(count(&bench, Counter::RetransmitFast) + count(&bench, Counter::RetransmitTimeout), 0);
    let failures = [Counter::ConnectRefused, Counter::ConnectTimedOut, Counter::ConnectOther];
    assert_eq!(failures.map(|counter| count(&bench, counter)), [0; 3]);
    drop((first, accepted));
}

#[test]
fn a_connection_that_is_not_established_counts_by_its_reason() {
    let name = "a_connection_that_is_not_established_counts_by_its_reason";
    let Some(bench) = Bench::start_on(narrow(), name, &[Measurement::Connect], |_| {}) else { return };
    let address = SockaddrIn::new(127, 0, 0, 1, bench.port);
    let _first = TcpStream::connect(bench.listener.local_addr().unwrap()).unwrap();

    let impatient = tcp(SockFlag::SOCK_NONBLOCK);
    assert_eq!(connect(impatient.as_raw_fd(), &address), Err(nix::errno::Errno::EINPROGRESS));
    std::thread::sleep(Duration::from_millis(50));
    drop(impatient);
    assert_eq!(count(&bench, Counter::ConnectGaveUp), 1);

    let limited = tcp(SockFlag::empty());
    setsockopt(&limited, sockopt::TcpUserTimeout, &500).unwrap();
    assert_eq!(connect(limited.as_raw_fd(), &address), Err(nix::errno::Errno::ETIMEDOUT));
    assert_eq!(count(&bench, Counter::ConnectTimedOut), 1);

    let Bench { kernel, listener, port } = bench;
    drop(listener);
    for _ in 0..3 {
        TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    }
    let snapshot = kernel.snapshot().unwrap();
    let count = |counter| snapshot.counts[&(counter, Group::of_peer(GROUP))];
    assert_eq!((count(Counter::ConnectRefused), count(Counter::ConnectOther)), (3, 0));
    let held = snapshot.of_peer(Distribution::Connect, GROUP).map(|held| held.count);
    assert_eq!(held, Some(1), "a connection that fails has no time of connecting");
}

#[test]
fn a_slow_application_is_charged_with_its_own_time_and_not_with_its_peers() {
    let name = "a_slow_application_is_charged_with_its_own_time_and_not_with_its_peers";
    let Some(bench) = Bench::start(name, &[Measurement::AcceptWait], |_| {}) else { return };
    let address = bench.listener.local_addr().unwrap();
    let slept = Duration::from_millis(120);
    let mut seen = Duration::ZERO;
    for _ in 0..5 {
        let mut near = TcpStream::connect(address).unwrap();
        near.write_all(&REQUEST).unwrap();
        let start = Instant::now();
        std::thread::sleep(Duration::from_millis(80));
        let (mut far, _) = bench.listener.accept().unwrap();
        std::thread::sleep(Duration::from_millis(40));
        far.read_exact(&mut [0; REQUEST.len()]).unwrap();
        seen = seen.max(start.elapsed());
    }
    let slow = bench.wait_for(Distribution::AcceptWait, 5);
    assert_mean(&slow, slept, seen);

    // Now the peer is the slow one: it says nothing for as long.
    let mut longest = Duration::ZERO;
    for _ in 0..5 {
        let (mut near, mut far) = bench.connect();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(slept);
            near.write_all(&REQUEST).unwrap();
            (near, Instant::now())
        });
        far.read_exact(&mut [0; REQUEST.len()]).unwrap();
        let read = Instant::now();
        let (_near, wrote) = writer.join().unwrap();
        longest = longest.max(read.saturating_duration_since(wrote));
    }
    let all = bench.wait_for(Distribution::AcceptWait, 10);
    let peers = (all.sum_ns - slow.sum_ns) as f64 / 5.0;
    assert!(peers < longest.as_nanos() as f64 + 20e6, "{peers} ns of a peer's {slept:?}");
    assert_eq!(bench.snapshot().lost, Default::default());
}

#[test]
fn the_queue_is_as_long_as_connections_find_it() {
    let name = "the_queue_is_as_long_as_connections_find_it";
    let room = nix::unistd::Uid::effective().is_root().then(crate::room::Room::new);
    let listener = match &room {
        Some(room) => room.inside(|| TcpListener::bind("127.0.0.1:0").unwrap()),
        None => TcpListener::bind("127.0.0.1:0").unwrap(),
    };
    let inum = room.as_ref().map(|room| {
        room.inside(|| {
            use std::os::unix::fs::MetadataExt;
            std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino() as u32
        })
    });
    // Queues have no peer group: only a namespace keeps other tests' listeners out.
    let scoped = |settings: &mut insight_agent::collect::kernel::settings::Settings| {
        settings.scope.namespaces = inum.into_iter().collect();
    };
    // The listener is older than the programs, and is found all the same where it can be walked to.
    let Some(bench) = Bench::start_on(listener, name, &[Measurement::AcceptWait], scoped) else { return };
    let Some(room) = room else { return };
    let listener = room.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let waiting: Vec<_> = room.inside(move || (0..4).map(|_| TcpStream::connect(address).unwrap()).collect());
    let counts = |counter| bench.snapshot().count(counter).unwrap();
    assert_eq!(counts(Counter::ListenQueued), 4);
    assert_eq!(counts(Counter::ListenWaiting), 1 + 2 + 3 + 4);
    assert_eq!(counts(Counter::ListenFull), 0);
    let mut accepted: Vec<TcpStream> = (0..4).map(|_| listener.accept().unwrap().0).collect();
    drop(waiting);
    assert_eq!(accepted[0].read(&mut [0]).unwrap(), 0);
}
