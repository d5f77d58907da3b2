//! More connections than are measured in full, and how many are.

use crate::support::{ANSWER, Bench, GROUP, REQUEST};
use insight_common::kernel::layout::{Distribution, LEAST_SAMPLED, Table};
use insight_common::kernel::measurement::Measurement;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const OPEN: u64 = 80;

fn exchange((near, far): &mut (TcpStream, TcpStream)) {
    near.write_all(&REQUEST).unwrap();
    far.read_exact(&mut [0; REQUEST.len()]).unwrap();
    far.write_all(&ANSWER).unwrap();
    near.read_exact(&mut [0; ANSWER.len()]).unwrap();
}

fn sampled(bench: &Bench) -> u64 {
    bench.snapshot().entries.unwrap().of(Table::Sampled)
}

/// Of how many of these connections one exchange is a turnaround, or a response.
fn measured(bench: &Bench, distribution: Distribution, all: &mut [(TcpStream, TcpStream)]) -> u64 {
    let had = bench.count(distribution);
    all.iter_mut().for_each(exchange);
    bench.count(distribution) - had
}

#[test]
fn the_first_of_a_group_are_measured_in_full_and_of_the_others_what_happens_once() {
    let name = "the_first_of_a_group_are_measured_in_full_and_of_the_others_what_happens_once";
    let wanted =
        [Measurement::Turnaround, Measurement::Response, Measurement::Connect, Measurement::SocketRtt];
    let seldom = |settings: &mut insight_agent::collect::kernel::settings::Settings| {
        settings.sample_one_in = 1_000;
    };
    let Some(bench) = Bench::start(name, &wanted, seldom) else { return };
    let mut all: Vec<_> = (0..OPEN).map(|_| bench.connect_greeted()).collect();
    // The opening is left out of each.
    all.iter_mut().for_each(exchange);
    // A few may be drawn beside the first ones: of 128 more than 5 at one in 1,000 in none of 10^9 runs.
    let some = LEAST_SAMPLED..=LEAST_SAMPLED + 5;
    for distribution in [Distribution::Turnaround, Distribution::Response] {
        let count = measured(&bench, distribution, &mut all);
        assert!(some.contains(&count), "{distribution:?}: {count} of {OPEN}");
    }
    assert!((2 * LEAST_SAMPLED..=2 * LEAST_SAMPLED + 5).contains(&sampled(&bench)), "{}", sampled(&bench));
    assert_eq!(bench.count(Distribution::Connect), OPEN, "connecting happens once: of all");
    let rounds = bench.snapshot().of_peer(Distribution::RttConnected, GROUP).unwrap().count;
    assert!((LEAST_SAMPLED..OPEN * 3).contains(&rounds), "{rounds} round trips of {OPEN} connections");

    // Those that end make room for others.
    all.clear();
    let mut next: Vec<_> = (0..5).map(|_| bench.connect_greeted()).collect();
    next.iter_mut().for_each(exchange);
    // What follows so closely on an answer could be the rest of its request.
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(measured(&bench, Distribution::Turnaround, &mut next), 5);
}

#[test]
fn without_sampling_every_connection_is_measured_in_full() {
    let name = "without_sampling_every_connection_is_measured_in_full";
    let Some(bench) = Bench::start(name, &[Measurement::Turnaround], |_| {}) else { return };
    let mut all: Vec<_> = (0..OPEN).map(|_| bench.connect_greeted()).collect();
    all.iter_mut().for_each(exchange);
    assert_eq!(measured(&bench, Distribution::Turnaround, &mut all), OPEN);
    assert_eq!(sampled(&bench), 0, "nobody counts");
}
