//! A service that takes its time, seen from both ends; and requests that overlap.

use crate::support::{ANSWER, Bench, REQUEST, assert_mean};
use insight_common::kernel::layout::Distribution;
use insight_common::kernel::loss::{Loss, Measurement};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const SERVICE: Duration = Duration::from_millis(50);

const BOTH: [Measurement; 2] = [Measurement::Turnaround, Measurement::Response];

#[test]
fn a_slow_service_shows_as_turnaround_and_as_response() {
    let name = "a_slow_service_shows_as_turnaround_and_as_response";
    let Some(bench) = Bench::start(name, &BOTH, |_| {}) else { return };
    let (mut near, mut far) = bench.connect_greeted();
    let service = std::thread::spawn(move || {
        while far.read_exact(&mut [0; REQUEST.len()]).is_ok() {
            std::thread::sleep(SERVICE);
            far.write_all(&ANSWER).unwrap();
        }
    });
    let mut seen = Duration::ZERO;
    for round in 0..11 {
        let asked = Instant::now();
        near.write_all(&REQUEST).unwrap();
        near.read_exact(&mut [0; ANSWER.len()]).unwrap();
        // The first exchange of a connection is left out.
        seen += if round == 0 { Duration::ZERO } else { asked.elapsed() };
        std::thread::sleep(Duration::from_millis(3));
    }
    drop(near);
    service.join().unwrap();
    // A thread that is held up between two steps of its own can make an exchange look crowded.
    for distribution in [Distribution::Turnaround, Distribution::Response] {
        let durations = bench.wait_for(distribution, 8);
        assert!(durations.count <= 10, "{distribution:?}: {}", durations.count);
        assert_mean(&durations, SERVICE, seen * 5 / 4 / 10);
    }
    for measurement in BOTH {
        assert!(bench.snapshot().lost(measurement, Loss::Opening) >= 1, "{}", measurement.name());
    }
}

#[test]
fn requests_that_overlap_are_counted_and_not_measured() {
    let name = "requests_that_overlap_are_counted_and_not_measured";
    let adapt =
        |settings: &mut insight_agent::collect::kernel::settings::Settings| settings.skip_exchanges = 0;
    let Some(bench) = Bench::start(name, &BOTH, adapt) else { return };
    let (mut near, mut far) = bench.connect();
    for _ in 0..5 {
        near.write_all(&REQUEST).unwrap();
        std::thread::sleep(Duration::from_millis(10));
        near.write_all(&REQUEST).unwrap();
        far.read_exact(&mut [0; 2 * REQUEST.len()]).unwrap();
        far.write_all(&ANSWER).unwrap();
        near.read_exact(&mut [0; ANSWER.len()]).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    for measurement in BOTH {
        while bench.snapshot().lost(measurement, Loss::Overlapped) < 5 {
            assert!(Instant::now() < deadline, "{}: {:?}", measurement.name(), bench.snapshot().lost);
        }
    }
    let snapshot = bench.snapshot();
    for distribution in [Distribution::Turnaround, Distribution::Response] {
        assert_eq!(snapshot.of_peer(distribution, 1), None, "{distribution:?}");
    }
}

#[test]
fn the_answer_to_a_request_that_came_with_the_settings_is_nobody_elses() {
    let name = "the_answer_to_a_request_that_came_with_the_settings_is_nobody_elses";
    let Some(bench) = Bench::start(name, &BOTH, |_| {}) else { return };
    let (mut near, mut far) = bench.connect();
    // Two callers who ask 35 ms after each other, each answered after 50; and settings after 10.
    let (start, apart) = (Instant::now(), Duration::from_millis(35));
    let until = |at: Duration| std::thread::sleep((start + at).saturating_duration_since(Instant::now()));
    near.write_all(&REQUEST).unwrap();
    until(Duration::from_millis(10));
    far.write_all(&ANSWER).unwrap();
    for nth in 1..20 {
        until(apart * nth);
        near.write_all(&REQUEST).unwrap();
        until(apart * (nth - 1) + SERVICE);
        far.write_all(&ANSWER).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    for measurement in BOTH {
        while bench.snapshot().lost(measurement, Loss::Overlapped) < 15 {
            assert!(Instant::now() < deadline, "{}: {:?}", measurement.name(), bench.snapshot().lost);
        }
    }
    for distribution in [Distribution::Turnaround, Distribution::Response] {
        assert_eq!(bench.count(distribution), 0, "{distribution:?}");
    }
}
