//! Data that is ready and not read.

use crate::support::{Bench, GROUP, REQUEST, assert_mean};
use insight_agent::collect::kernel::settings::{Forwarders, Settings};
use insight_common::kernel::layout::Distribution;
use insight_common::kernel::loss::{Loss, Measurement};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// As many bytes as an HTTP/2 PING has.
const PING: [u8; 17] = [b'p'; 17];

const DELAY: Duration = Duration::from_millis(30);

#[test]
fn a_reader_that_comes_late_shows_as_receive_wait() {
    let name = "a_reader_that_comes_late_shows_as_receive_wait";
    let Some(bench) = Bench::start(name, &[Measurement::ReceiveWait], |_| {}) else { return };
    let (mut near, mut far) = bench.connect();
    let mut seen = Duration::ZERO;
    let mut buffer = [0; 400];
    for _ in 0..10 {
        let written = Instant::now();
        near.write_all(&REQUEST).unwrap();
        std::thread::sleep(DELAY);
        // A look at the bytes takes none of them.
        assert_eq!(far.peek(&mut buffer).unwrap(), REQUEST.len());
        assert_eq!(far.read(&mut buffer).unwrap(), REQUEST.len());
        seen += written.elapsed();
    }
    let waits = bench.wait_for(Distribution::ReceiveWaitAccepted, 10);
    assert_eq!(waits.count, 10, "a peek is no read");
    assert_mean(&waits, DELAY, seen / 10);
    assert_eq!(bench.snapshot().lost(Measurement::ReceiveWait, Loss::Unreadable), 0);
}

#[test]
fn with_forwarders_configured_only_their_reads_count() {
    let name = "with_forwarders_configured_only_their_reads_count";
    let forwarders = |pids| move |settings: &mut Settings| settings.forwarders = Some(pids);
    let Some(mut bench) = Bench::start(name, &[Measurement::ReceiveWait], forwarders(Forwarders::one(&[])))
    else {
        return;
    };
    let (mut near, mut far) = bench.connect();
    near.write_all(&REQUEST).unwrap();
    far.read_exact(&mut [0; REQUEST.len()]).unwrap();
    // The program ran before the read returned.
    let counted = bench.snapshot().of_peer(Distribution::ReceiveWaitAccepted, GROUP).is_some();
    assert!(!counted, "this process is no forwarder yet");
    std::thread::sleep(DELAY);

    bench.kernel.set_forwarders(&Forwarders::one(&[std::process::id()])).unwrap();
    let written = Instant::now();
    near.write_all(&REQUEST).unwrap();
    far.read_exact(&mut [0; REQUEST.len()]).unwrap();
    let seen = written.elapsed();
    let waits = bench.wait_for(Distribution::ReceiveWaitAccepted, 1);
    assert_eq!(waits.count, 1);
    assert!(waits.sum_ns <= seen.as_nanos() as u64, "the other's read ended its wait: {waits:?} in {seen:?}");
    assert_eq!(bench.snapshot().lost(Measurement::ReceiveWait, Loss::Unstamped), 0);
}

#[test]
fn housekeeping_is_no_wait_and_hides_none() {
    let name = "housekeeping_is_no_wait_and_hides_none";
    // Losses are of the whole host, unless only this process is counted.
    let alone = |settings: &mut Settings| settings.forwarders = Some(Forwarders::one(&[std::process::id()]));
    let Some(bench) = Bench::start(name, &[Measurement::ReceiveWait], alone) else { return };
    let (mut near, mut far) = bench.connect();
    for _ in 0..5 {
        near.write_all(&PING).unwrap();
        std::thread::sleep(DELAY);
        far.read_exact(&mut [0; PING.len()]).unwrap();
    }
    let snapshot = bench.snapshot();
    let counted = snapshot.of_peer(Distribution::ReceiveWaitAccepted, GROUP).is_some();
    assert!(!counted, "nobody waits for a PING");
    assert_eq!(snapshot.lost(Measurement::ReceiveWait, Loss::Unstamped), 0);

    near.write_all(&PING).unwrap();
    std::thread::sleep(2 * DELAY);
    let written = Instant::now();
    near.write_all(&REQUEST).unwrap();
    std::thread::sleep(DELAY);
    far.read_exact(&mut [0; PING.len() + REQUEST.len()]).unwrap();
    let seen = written.elapsed();
    let waits = bench.wait_for(Distribution::ReceiveWaitAccepted, 1);
    assert_eq!(waits.count, 1);
    assert_mean(&waits, DELAY, seen);
}

#[test]
fn the_role_of_the_late_reader_is_told() {
    let name = "the_role_of_the_late_reader_is_told";
    let Some(bench) = Bench::start(name, &[Measurement::ReceiveWait], |_| {}) else { return };
    let (mut near, mut far) = bench.connect();
    let written = Instant::now();
    far.write_all(&REQUEST).unwrap();
    std::thread::sleep(DELAY);
    near.read_exact(&mut [0; REQUEST.len()]).unwrap();
    let seen = written.elapsed();
    assert_mean(&bench.wait_for(Distribution::ReceiveWaitConnected, 1), DELAY, seen);
    let accepted = bench.snapshot().of_peer(Distribution::ReceiveWaitAccepted, 1).is_some();
    assert!(!accepted, "the accepting end read nothing");
}
