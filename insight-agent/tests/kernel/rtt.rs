//! Round trips over loopback, with a peer that thinks before it answers.

use crate::support::{ANSWER, Bench, GROUP, REQUEST};
use insight_agent::collect::kernel::settings::Settings;
use insight_common::kernel::layout::{Distribution, Group, Role};
use insight_common::kernel::loss::{Loss, Measurement};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
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
        let floor = snapshot.clean_floor_ns(role, Group::of_peer(GROUP)).unwrap();
        assert!(floor < 5_000_000, "{role:?}: the handshake's round trip reads {floor} ns");
    }
    // One clock for both: the seconds that are kept are the last ones before the reading.
    let read_in = snapshot.taken_ns / 1_000_000_000;
    let kept = snapshot.floors.iter().filter(|(_, group, _)| group.peer == GROUP);
    for second in kept.flat_map(|(.., seconds)| seconds).map(|floor| floor.second) {
        assert!((read_in.saturating_sub(8)..=read_in).contains(&second), "{second} was read in {read_in}");
    }
}

#[test]
fn another_agent_with_another_scope_takes_no_samples_away() {
    let name = "another_agent_with_another_scope_takes_no_samples_away";
    let own = std::fs::metadata("/proc/self/ns/net").unwrap().ino() as u32;
    let scoped = |inum| move |settings: &mut Settings| settings.scope.namespaces = vec![inum];
    let Some(bench) = Bench::start(name, &[Measurement::SocketRtt], scoped(own)) else { return };
    let (mut near, mut far) = bench.connect();
    let mut exchange = || {
        near.write_all(&REQUEST).unwrap();
        far.read_exact(&mut [0; REQUEST.len()]).unwrap();
        far.write_all(&ANSWER).unwrap();
        near.read_exact(&mut [0; ANSWER.len()]).unwrap();
    };
    let mut more = || {
        let before = bench.count(Distribution::RttConnected);
        (0..10).for_each(|_| exchange());
        bench.wait_for(Distribution::RttConnected, before + 5);
    };
    more();
    let averages = |bench: &Bench| bench.snapshot().lost(Measurement::SocketRtt, Loss::Smoothed);
    let before = averages(&bench);
    // On no socket at all: its namespace does not exist.
    let Some(other) = Bench::start(name, &[Measurement::SocketRtt], scoped(1)) else { return };
    more();
    drop(other);
    more();
    if before == 0 {
        assert_eq!(averages(&bench), 0, "samples stay raw on a kernel that has them");
    }
}
