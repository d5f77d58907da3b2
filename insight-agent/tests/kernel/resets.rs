//! Connections that end with a reset, and those that do not.

use crate::support::{Bench, GROUP, REQUEST};
use insight_common::kernel::layout::{Counter, Group};
use insight_common::kernel::loss::Measurement;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Resets received and sent so far by the test's own group.
fn resets(bench: &Bench) -> [u64; 2] {
    let counts = bench.snapshot().counts;
    [Counter::ResetsReceived, Counter::ResetsSent].map(|counter| counts[&(counter, Group::of_peer(GROUP))])
}

/// Waits until at least as many are counted.
fn wait_for(bench: &Bench, wanted: [u64; 2]) -> [u64; 2] {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = resets(bench);
        if found >= wanted || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_close_with_unread_bytes_is_a_reset_at_both_ends_and_an_orderly_one_at_neither() {
    let name = "a_close_with_unread_bytes_is_a_reset_at_both_ends_and_an_orderly_one_at_neither";
    let Some(bench) = Bench::start(name, &[Measurement::Resets], |_| {}) else { return };
    for _ in 0..5 {
        let (near, far) = bench.connect();
        drop(near);
        drop(far);
    }
    assert_eq!(resets(&bench), [0, 0]);
    for _ in 0..5 {
        let (mut near, far) = bench.connect();
        near.write_all(&REQUEST).unwrap();
        far.peek(&mut [0; REQUEST.len()]).unwrap();
        drop(far);
        near.read(&mut [0; 1]).unwrap_err();
    }
    assert_eq!(wait_for(&bench, [5, 5]), [5, 5]);
    assert!(bench.snapshot().lost.is_empty(), "{:?}", bench.snapshot().lost);
}

#[test]
fn a_refused_connection_is_a_reset_of_the_peer_that_it_was_meant_for() {
    let name = "a_refused_connection_is_a_reset_of_the_peer_that_it_was_meant_for";
    let Some(bench) = Bench::start(name, &[Measurement::Resets], |_| {}) else { return };
    let Bench { kernel, listener, port } = bench;
    drop(listener);
    for _ in 0..3 {
        TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    }
    let counts = kernel.snapshot().unwrap().counts;
    // Whoever answers for a closed port has no socket, and so no peer group.
    assert_eq!(
        [
            counts[&(Counter::ResetsReceived, Group::of_peer(GROUP))],
            counts[&(Counter::ResetsSent, Group::of_peer(GROUP))]
        ],
        [3, 0]
    );
}
