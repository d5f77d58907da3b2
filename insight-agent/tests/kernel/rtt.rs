//! Round trips over loopback, with a peer that thinks before it answers.

use crate::support::{ANSWER, Bench, GROUP, REQUEST};
use insight_common::kernel::layout::{Distribution, Role};
use insight_common::kernel::loss::Measurement;
use std::io::{Read, Write};
use std::time::Duration;

#[test]
fn think_time_raises_round_trips_and_not_their_floor() {
    let name = "think_time_raises_round_trips_and_not_their_floor";
    let Some(bench) = Bench::start(name, &[Measurement::SocketRtt], |_| {}) else { return };
    let (mut near, mut far) = bench.connect();
    for _ in 0..10 {
        near.write_all(&REQUEST).unwrap();
        far.read_exact(&mut [0; REQUEST.len()]).unwrap();
        // Longer than nothing, shorter than a delayed acknowledgement: it rides on the answer.
        std::thread::sleep(Duration::from_millis(20));
        far.write_all(&ANSWER).unwrap();
        near.read_exact(&mut [0; ANSWER.len()]).unwrap();
    }
    let samples = bench.wait_for(Distribution::RttConnected, 8);
    let slowest = samples.quantile_ns(1.0).unwrap();
    assert!(slowest > 15e6, "think time leaks into plain samples: {slowest} ns of {samples:?}");
    let snapshot = bench.snapshot();
    for role in Role::ALL {
        let floor = snapshot.clean_floor_ns(role, GROUP).unwrap();
        assert!(floor < 5_000_000, "{role:?}: the handshake's round trip reads {floor} ns");
    }
    // One clock for both: the seconds that are kept are the last ones before the reading.
    let read_in = snapshot.taken_ns / 1_000_000_000;
    let kept = snapshot.floors.iter().filter(|(_, group, _)| *group == GROUP);
    for second in kept.flat_map(|(.., seconds)| seconds).map(|floor| floor.second) {
        assert!((read_in.saturating_sub(8)..=read_in).contains(&second), "{second} was read in {read_in}");
    }
}
