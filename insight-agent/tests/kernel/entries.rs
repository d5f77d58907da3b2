//! What is in the table of sockets is what is open, whatever came and went.

use crate::support::{Bench, GROUP, elsewhere, namespace};
use insight_agent::model::kernel::Entries;
use insight_common::kernel::layout::{LEAST_SAMPLED, Role, Table};
use insight_common::kernel::measurement::Measurement;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::close;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const OPEN: u64 = 40;

/// Threads that connect at the same time, and how often each does.
const CALLERS: usize = 8;
const CALLS: usize = 500;

/// The entries, once there are as many; or what there was instead, which fails.
#[track_caller]
fn wait_for(bench: &Bench, what: &str, [connected, accepted, listeners]: [u64; 3]) -> Entries {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = bench.snapshot().entries.unwrap();
        if (found.connected, found.accepted, found.listeners) == (connected, accepted, listeners) {
            assert_eq!(found.of(Table::Sockets), connected + accepted + listeners);
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: {found:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// In a namespace of its own, which is the scope. `sampled`: one in so many is measured in full.
fn apart(name: &'static str, sampled: u32, work: impl FnOnce(&Bench) + Send) {
    elsewhere(|| {
        let inum = namespace();
        let started = Bench::start(name, &[Measurement::Connect, Measurement::Resets], |settings| {
            settings.scope.namespaces = vec![inum];
            settings.scope.namespace_paths = vec!["/proc/thread-self/ns/net".into()];
            settings.sample_one_in = sampled;
        });
        if let Some(bench) = started {
            assert_eq!(bench.kernel.uncounted(), None);
            work(&bench);
        }
    });
}

/// Connections that come and go on several threads; every fourth is reset.
fn churn(listener: &TcpListener) {
    let address = listener.local_addr().unwrap();
    let namespace = File::open("/proc/thread-self/ns/net").unwrap();
    let call = |at: usize, address: SocketAddr| {
        let mut near = TcpStream::connect(address).unwrap();
        near.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // One that is reset before it is accepted is never accepted.
        near.read_exact(&mut [0]).unwrap();
        if at.is_multiple_of(4) {
            let now = libc::linger { l_onoff: 1, l_linger: 0 };
            nix::sys::socket::setsockopt(&near, nix::sys::socket::sockopt::Linger, &now).unwrap();
        }
    };
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for _ in 0..CALLERS * CALLS {
                listener.accept().unwrap().0.write_all(&[0]).unwrap();
            }
        });
        for _ in 0..CALLERS {
            threads.spawn(|| {
                nix::sched::setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
                (0..CALLS).for_each(|at| call(at, address));
            });
        }
    });
}

#[test]
fn the_table_has_what_is_open_of_each_role_also_after_thousands_that_came_and_went() {
    let name = "the_table_has_what_is_open_of_each_role_also_after_thousands_that_came_and_went";
    apart(name, 1, |bench| {
        wait_for(bench, "the listener alone", [0, 0, 1]);
        let mut all: Vec<_> = (0..OPEN).map(|_| bench.connect()).collect();
        let second = TcpListener::bind("127.0.0.1:0").unwrap();
        wait_for(bench, "all open", [OPEN, OPEN, 2]);
        churn(&second);
        let after = wait_for(bench, "after the churn", [OPEN, OPEN, 2]);
        assert_eq!(after.of(Table::Sampled), 0, "nobody counts");
        drop(second);
        all.truncate(3);
        wait_for(bench, "three left", [3, 3, 1]);
        all.clear();
        wait_for(bench, "none left", [0, 0, 1]);
    });
}

#[test]
fn sampled_connections_are_those_that_are_open_also_after_thousands_that_came_and_went() {
    let name = "sampled_connections_are_those_that_are_open_also_after_thousands_that_came_and_went";
    // One that is drawn is open for a moment, or one in a hundred million.
    apart(name, 100_000_000, |bench| {
        let few = LEAST_SAMPLED / 2;
        let some: Vec<_> = (0..few).map(|_| bench.connect()).collect();
        churn(&bench.listener);
        let found = wait_for(bench, "after the churn", [few, few, 1]);
        let group = |role| found.sampled.get(&(role, GROUP)).copied();
        assert_eq!(Role::ALL.map(group), [Some(few); 2], "{found:?}");

        // There is room for exactly as many as are missing.
        let more: Vec<_> = (0..OPEN).map(|_| bench.connect()).collect();
        let found = wait_for(bench, "with more", [few + OPEN, few + OPEN, 1]);
        let group = |role| found.sampled.get(&(role, GROUP)).copied();
        assert_eq!(Role::ALL.map(group), [Some(LEAST_SAMPLED); 2], "{found:?}");
        drop((some, more));
        assert_eq!(wait_for(bench, "none left", [0, 0, 1]).of(Table::Sampled), 0);
    });
}

#[test]
fn a_walk_that_cannot_be_made_gives_no_figure_and_all_else_as_before() {
    let name = "a_walk_that_cannot_be_made_gives_no_figure_and_all_else_as_before";
    let Some(bench) = Bench::start(name, &[Measurement::Connect], |_| {}) else { return };
    let _pair = bench.connect();
    assert!(bench.snapshot().entries.is_some());
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // In a table of descriptors of this thread's own, out of which the walk's is missing.
            unshare(CloneFlags::CLONE_FILES).unwrap();
            close(walk()).unwrap();
            let snapshot = bench.snapshot();
            assert_eq!(snapshot.entries, None);
            assert!(!snapshot.durations.is_empty(), "the connection is measured");
        });
    });
    assert!(bench.snapshot().entries.is_some(), "where it can be made");
}

/// The descriptor that walks are opened with.
fn walk() -> i32 {
    let folder = "/proc/thread-self/fdinfo";
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let is_walk = |name: &String| {
        std::fs::read_to_string(format!("{folder}/{name}"))
            .is_ok_and(|info| info.contains("link_type:\titer") && info.contains("bpf_sk_storage_map"))
    };
    let mut found = names.map(|name| name.into_string().unwrap()).filter(is_walk);
    found.next().unwrap().parse().unwrap()
}
