//! Tests of the window's rules.

use super::*;
use crate::correlate::fixtures::{hop, link_plan, link_sample, ms, plan, sample};
use crate::model::figure::Figure;
use crate::model::ledger::Evidence;
use crate::model::outcome::{Failure, FailureClass, FailurePhase, GrpcStatus};
use crate::model::plan::{Call, Mode};
use crate::model::sample::Outcome;
use crate::model::window::{LedgerWindow, SegmentWindow};
use proptest::prelude::*;

fn failed() -> Outcome {
    let (status, class) = (GrpcStatus::Unavailable, FailureClass::Refused);
    Outcome::Failed(Failure { status, class, phase: FailurePhase::Connect, detail: String::new() })
}

fn segment<'a>(ledger: &'a LedgerWindow, name: &str) -> &'a SegmentWindow {
    ledger.segments.iter().find(|segment| segment.name == name).unwrap()
}

#[test]
fn the_median_is_of_white_box_successes_when_there_are_any() {
    let (white, mut black) = (Arc::new(plan("white")), plan("black"));
    black.mode = Mode::BlackBox;
    black.call = Call::HealthCheck { service: String::new() };
    let black = Arc::new(black);
    let now = Instant::now();
    let mut window = Aggregator::new(vec![Arc::clone(&white), Arc::clone(&black)], now);
    window.record(&sample(&black, now, ms(9)));
    assert_eq!(window.rotate(now, &NodeWindows::default()).paths[0].cross_region_latency, Some(ms(10)));
    for wait in [19, 29, 99] {
        window.record(&sample(&white, now, ms(wait)));
    }
    window.record(&sample(&black, now, ms(9)));
    assert_eq!(window.rotate(now, &NodeWindows::default()).paths[0].cross_region_latency, Some(ms(30)));
}

#[test]
fn failures_voided_fresh_and_large_samples_are_not_the_path() {
    let small = Arc::new(plan("small"));
    let mut large = plan("large");
    large.call = Call::Measure { request_bytes: 4096, response_bytes: 0, delay: Duration::ZERO };
    let large = Arc::new(large);
    let now = Instant::now();
    let mut window = Aggregator::new(vec![Arc::clone(&small), Arc::clone(&large)], now);
    window.record(&ProbeSample { outcome: failed(), ..sample(&small, now, ms(5)) });
    window.record(&ProbeSample { outcome: Outcome::Voided(None), ..sample(&small, now, ms(5)) });
    window.record(&ProbeSample { connection: Connection::Fresh, ..sample(&small, now, ms(5)) });
    window.record(&sample(&large, now, ms(5)));
    let window = window.rotate(now, &NodeWindows::default());
    assert_eq!(window.paths[0].cross_region_latency, None);
    assert_eq!(window.paths[0].ledgers.len(), 1, "a large probe has no path ledger");
    assert_eq!(window.paths[0].ledgers[0].count, 0);
    let reused = &window.probes[0];
    assert_eq!((reused.ended, reused.good), (1, 0), "voided samples are not among the ended");
    assert_eq!(reused.success_ratio(), Some(0.0));
}

#[test]
fn a_black_box_probe_has_a_ledger_exactly_while_its_service_tells_its_time() {
    let mut black = plan("black");
    black.mode = Mode::BlackBox;
    black.call = Call::HealthCheck { service: String::new() };
    let black = Arc::new(black);
    let now = Instant::now();
    let mut window = Aggregator::new(vec![Arc::clone(&black)], now);
    let mut silent = sample(&black, now, ms(20));
    silent.service = None;
    silent.hops.hops = vec![hop("a", 18, 15), hop("b", 9, 7)];
    window.record(&silent);
    assert_eq!(window.rotate(now, &NodeWindows::default()).paths[0].ledgers, []);
    let mut told = silent.clone();
    told.hops.stats.server = Some(Figure::from_duration(ms(4)));
    window.record(&told);
    window.record(&silent);
    let rotated = window.rotate(now, &NodeWindows::default());
    let [ledger] = rotated.paths[0].ledgers.as_slice() else { panic!("{:?}", rotated.paths) };
    assert_eq!((ledger.count, ledger.probe.as_str()), (1, "black"));
    let service = segment(ledger, "service");
    assert_eq!((service.mean, service.evidence), (Some(0.004), Some(Evidence::ServerStats)));
    assert_eq!(segment(ledger, "hop:a").mean, Some(0.003));
    assert_eq!(rotated.probes[0].service.times, [Some(0.004), None]);
}

#[test]
fn a_late_answer_is_latency() {
    let plan = Arc::new(plan("p"));
    let now = Instant::now();
    let mut window = Aggregator::new(vec![Arc::clone(&plan)], now);
    window.record(&ProbeSample { outcome: Outcome::Late, ..sample(&plan, now, ms(11_999)) });
    assert_eq!(window.rotate(now, &NodeWindows::default()).paths[0].cross_region_latency, Some(ms(12_000)));
}

#[test]
fn a_window_without_samples_has_none_and_not_the_last_one() {
    let plan = Arc::new(plan("p"));
    let now = Instant::now();
    let mut window = Aggregator::new(vec![Arc::clone(&plan)], now);
    window.record(&sample(&plan, now, ms(9)));
    let first = window.rotate(now + ms(1000), &NodeWindows::default());
    let second = window.rotate(now + ms(2500), &NodeWindows::default());
    assert_eq!((first.length, second.length), (ms(1000), ms(1500)));
    assert_eq!(first.paths[0].cross_region_latency, Some(ms(10)));
    assert_eq!(second.paths[0].cross_region_latency, None);
    assert_eq!(second.probes[0].success_ratio(), None);
    let ledger = &second.paths[0].ledgers[0];
    assert_eq!((ledger.count, ledger.end_to_end, ledger.unexplained), (0, None, None));
}

#[test]
fn a_pair_within_one_region_has_no_cross_region_latency() {
    let mut direct = plan("direct");
    direct.target = "eu".into();
    let direct = Arc::new(direct);
    let now = Instant::now();
    let mut window = Aggregator::new(vec![Arc::clone(&direct)], now);
    window.record(&sample(&direct, now, ms(9)));
    let window = window.rotate(now, &NodeWindows::default());
    assert_eq!(window.paths[0].cross_region_latency, None);
    assert_eq!(window.paths[0].ledgers[0].count, 1);
}

#[test]
fn means_are_of_the_most_frequent_shape_in_path_order_and_add_up() {
    let plan = Arc::new(plan("p"));
    let now = Instant::now();
    let mut window = Aggregator::new(vec![Arc::clone(&plan)], now);
    let mut opening = sample(&plan, now, ms(20));
    opening.rulers.handshake = Some(ms(1));
    opening.hops.hops = vec![hop("a", 18, 15), hop("b", 9, 4)];
    let mut second = sample(&plan, now, ms(24));
    second.hops.hops = vec![hop("a", 22, 17), hop("b", 9, 4)];
    let mut silent_b = sample(&plan, now, ms(99));
    silent_b.hops.hops = vec![hop("a", 95, 15)];
    for sample in [&opening, &second, &silent_b] {
        assert_eq!(window.record(sample), 0);
    }
    let ledger = window.rotate(now, &NodeWindows::default()).paths.remove(0).ledgers.remove(0);
    assert_eq!((ledger.count, ledger.other_shape), (2, 1));
    let means: Vec<(&str, f64)> =
        ledger.segments.iter().map(|s| (s.name.as_str(), (s.mean.unwrap() * 1e6).round() / 1e3)).collect();
    let expected = [
        ("link:me>a", 1.0),
        ("hop:a", 4.0),
        ("link:a>b", 7.0),
        ("hop:b", 5.0),
        ("link:b>service", 2.0),
        ("service", 2.0),
        ("transfer", 1.0),
    ];
    assert_eq!(means, expected);
    assert_eq!(segment(&ledger, "link:me>a").evidence, Some(Evidence::Handshake));
    let sum: f64 = ledger.segments.iter().filter_map(|s| s.mean).sum();
    assert!((sum + ledger.unexplained.unwrap() - ledger.end_to_end.unwrap()).abs() < 1e-9, "{ledger:?}");
}

#[test]
fn a_hop_that_is_silent_in_most_requests_is_merged_and_named() {
    let plan = Arc::new(plan("p"));
    let now = Instant::now();
    let mut window = Aggregator::new(vec![Arc::clone(&plan)], now);
    let mut silent_b = sample(&plan, now, ms(22));
    silent_b.hops.hops = vec![hop("a", 20, 15)];
    window.record(&silent_b);
    window.record(&silent_b);
    let ledger = window.rotate(now, &NodeWindows::default()).paths.remove(0).ledgers.remove(0);
    let merged = segment(&ledger, "link:a>service");
    assert_eq!((merged.merged.as_slice(), merged.count), (&["b".to_owned()][..], 2));
    assert_eq!((segment(&ledger, "hop:b").mean, segment(&ledger, "hop:b").count), (None, 0));
}

#[test]
fn an_old_handshake_does_not_stand_for_the_first_link() {
    let plan = Arc::new(plan("p"));
    let now = Instant::now();
    let mut window = Aggregator::new(vec![Arc::clone(&plan)], now);
    let mut opening = sample(&plan, now, ms(20));
    opening.rulers.handshake = Some(ms(1));
    opening.hops.hops = vec![hop("a", 18, 15)];
    window.record(&opening);
    window.rotate(now, &NodeWindows::default());
    let mut later = sample(&plan, now + HANDSHAKE_MAX_AGE + ms(1), ms(20));
    later.hops.hops = vec![hop("a", 18, 15)];
    window.record(&later);
    let ledger = window.rotate(now, &NodeWindows::default()).paths.remove(0).ledgers.remove(0);
    assert_eq!(segment(&ledger, "link:me>a").mean, None);
}

#[test]
fn hops_that_no_configuration_names_are_counted_and_never_named() {
    let mut direct = plan("direct");
    direct.route.hops = vec![];
    let direct = Arc::new(direct);
    let now = Instant::now();
    let mut window = Aggregator::new(vec![Arc::clone(&direct)], now);
    let mut spoken = sample(&direct, now, ms(20));
    spoken.hops.hops = vec![hop("mallory", 18, 15), hop("eve", 9, 4)];
    assert_eq!(window.record(&spoken), 2);
    let ledger = window.rotate(now, &NodeWindows::default()).paths.remove(0).ledgers.remove(0);
    assert!(ledger.segments.iter().all(|s| !s.name.contains("mallory")), "{:?}", ledger.segments);
}

/// The mean of the first link in the ledger of a probe over `me > a`, with handshakes of link probes
/// before it: ends, round trip, and how long before.
fn first_link_after(links: &[(&str, &str, Duration, Duration)]) -> (Option<f64>, Option<Evidence>) {
    let plan = Arc::new(plan("p"));
    let now = Instant::now() + ms(100_000);
    let mut window = Aggregator::new(vec![Arc::clone(&plan)], now);
    for (from, to, round_trip, before) in links {
        let link = Arc::new(link_plan("link", from, to));
        window.record(&link_sample(&link, Connection::Fresh, now - *before, *round_trip));
    }
    let mut spoken = sample(&plan, now, ms(20));
    spoken.hops.hops = vec![hop("a", 18, 15)];
    window.record(&spoken);
    let ledger = window.rotate(now, &NodeWindows::default()).paths.remove(0).ledgers.remove(0);
    let first = segment(&ledger, "link:me>a");
    (first.mean, first.evidence)
}

#[test]
fn a_link_probes_handshake_stands_for_the_first_link_with_its_ends() {
    assert_eq!(first_link_after(&[("me", "a", ms(2), ms(10))]), (Some(0.002), Some(Evidence::Handshake)));
    // Along the same route, but not of this link.
    for (from, to) in [("me", "b"), ("another", "a"), ("a", "b")] {
        assert_eq!(first_link_after(&[(from, to, ms(2), ms(10))]), (None, None), "{from}>{to}");
    }
    let old = HANDSHAKE_MAX_AGE + ms(1);
    assert_eq!(first_link_after(&[("me", "a", ms(2), old)]), (None, None));
}

#[test]
fn the_latest_handshake_counts_whoever_made_it() {
    let plan = Arc::new(plan("p"));
    let link = Arc::new(link_plan("link", "me", "a"));
    let now = Instant::now();
    for (by_link, by_probe, latest) in [(ms(10), ms(20), 0.005), (ms(20), ms(10), 0.002)] {
        let mut window = Aggregator::new(vec![Arc::clone(&plan), Arc::clone(&link)], now);
        window.record(&link_sample(&link, Connection::Fresh, now + by_link, ms(2)));
        let mut fresh = sample(&plan, now + by_probe, ms(20));
        fresh.connection = Connection::Fresh;
        fresh.rulers.handshake = Some(ms(5));
        window.record(&fresh);
        let mut spoken = sample(&plan, now + ms(30), ms(20));
        spoken.hops.hops = vec![hop("a", 18, 15)];
        window.record(&spoken);
        let ledger = window.rotate(now, &NodeWindows::default()).paths.remove(0).ledgers.remove(0);
        assert_eq!(segment(&ledger, "link:me>a").mean, Some(latest));
    }
}

#[test]
fn a_link_is_no_path_and_carries_no_latency() {
    let link = Arc::new(link_plan("link", "me", "a"));
    let now = Instant::now();
    let mut window = Aggregator::new(vec![Arc::clone(&link)], now);
    // Even if it had phases, as no link sample has.
    window.record(&sample(&link, now, ms(9)));
    let window = window.rotate(now, &NodeWindows::default());
    assert!(window.paths.is_empty(), "{:?}", window.paths);
    assert_eq!(window.probes[0].success_ratio(), Some(1.0));
}

proptest! {
    #[test]
    fn a_floor_is_the_least_round_trip_that_counted(round_trips in prop::collection::vec((1_u64..1 << 40, any::<bool>()), 0..40)) {
        let link = Arc::new(link_plan("link", "me", "a"));
        let now = Instant::now();
        let mut window = Aggregator::new(vec![Arc::clone(&link)], now);
        for (ns, voided) in &round_trips {
            let mut ping = link_sample(&link, Connection::Reused, now, Duration::from_nanos(*ns));
            if *voided {
                ping.outcome = Outcome::Voided(None);
            }
            window.record(&ping);
        }
        let counted = round_trips.iter().filter(|(_, voided)| !voided).map(|(ns, _)| *ns);
        let least = counted.min().map(|ns| Duration::from_nanos(ns).as_secs_f64());
        let probes = window.rotate(now, &NodeWindows::default()).probes;
        prop_assert_eq!(probes[0].floors, [None, None, None, least]);
        prop_assert!(probes[0].rulers[3] >= least);
        prop_assert_eq!(probes[1].floors, [None; 4]);
    }
}
