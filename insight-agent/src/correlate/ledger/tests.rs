//! Ledgers of hand-made samples, figure by figure.

use super::probe_ledger;
use crate::model::figure::Figure;
use crate::model::hop::{HopEvidence, HopSource, HopTiming};
use crate::model::ledger::{Evidence, PathLedger, Segment};
use crate::model::outcome::{Failure, FailureClass, FailurePhase, GrpcStatus};
use crate::model::plan::{Call, Mode, ProbePlan, RoutePlan};
use crate::model::sample::{Outcome, ProbeSample, ServiceTiming};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const MS: i64 = 1_000_000;

/// What one hop says, in milliseconds.
pub(super) type Told<'a> = (&'a str, Option<i64>, Option<i64>);

pub(super) fn exact_ms(ms: i64) -> Figure {
    Figure::exact(ms * MS)
}

pub(super) fn timing(name: &str, downstream: Option<Figure>, upstream: Option<Figure>) -> HopTiming {
    HopTiming { name: name.into(), downstream, upstream, connect: None, source: HopSource::InsightHop }
}

/// A sample on the route `hops` with a response phase of 1 ms.
pub(super) fn sample(
    hops: &[&str],
    first_byte: Duration,
    told: Vec<HopTiming>,
    service: Option<Figure>,
) -> ProbeSample {
    let of = ProbePlan::example(([127, 0, 0, 1], 1).into());
    let hops = hops.iter().map(|hop| (*hop).to_owned()).collect();
    let plan = Arc::new(ProbePlan {
        mode: Mode::WhiteBox,
        call: Call::Measure { request_bytes: 0, response_bytes: 0, delay: Duration::ZERO },
        route: RoutePlan { origin: "eu".into(), hops, ..of.route },
        ..of
    });
    let took = [Duration::ZERO, first_byte, Duration::from_millis(1)];
    ProbeSample {
        hops: HopEvidence { hops: told, ..HopEvidence::default() },
        service: service.map(|receive_to_send| ServiceTiming {
            receive_to_send,
            receive_to_trailers: None,
            runqueue_wait: None,
        }),
        ..ProbeSample::example(&plan, Instant::now(), took)
    }
}

/// The ledger of a path whose first byte took 100 ms and whose first link takes 10 ms.
fn ledger(hops: &[&str], told: &[Told<'_>], service: Option<i64>) -> PathLedger {
    let told = told.iter().map(|(name, d, u)| timing(name, d.map(exact_ms), u.map(exact_ms))).collect();
    let sample = sample(hops, Duration::from_millis(100), told, service.map(exact_ms));
    probe_ledger(&sample, Some(exact_ms(10))).unwrap().ledger
}

/// Name and milliseconds of every segment.
fn rows(ledger: &PathLedger) -> Vec<(&str, Option<i64>)> {
    ledger
        .segments
        .iter()
        .map(|segment| (segment.name.as_str(), segment.figure.map(|figure| figure.ns / MS)))
        .collect()
}

fn find<'a>(ledger: &'a PathLedger, name: &str) -> &'a Segment {
    ledger.segments.iter().find(|segment| segment.name == name).unwrap()
}

fn merged(ledger: &PathLedger) -> Vec<(&str, Vec<&str>)> {
    ledger
        .segments
        .iter()
        .filter(|segment| !segment.merged.is_empty())
        .map(|segment| (segment.name.as_str(), segment.merged.iter().map(String::as_str).collect()))
        .collect()
}

// ---- everything known -----------------------------------------------------------------------

const FULL: [Told<'static>; 2] = [("a", Some(85), Some(80)), ("b", Some(30), Some(22))];

#[test]
fn every_hop_and_link_stands_in_path_order_and_the_rest_is_unexplained() {
    let ledger = ledger(&["a", "b"], &FULL, Some(20));
    let expected = [
        ("link:eu>a", Some(10)),
        ("hop:a", Some(5)),
        ("link:a>b", Some(50)),
        ("hop:b", Some(8)),
        ("link:b>service", Some(2)),
        ("service", Some(20)),
        ("transfer", Some(1)),
    ];
    assert_eq!(rows(&ledger), expected);
    assert_eq!(ledger.end_to_end, exact_ms(101));
    assert_eq!(ledger.unexplained, exact_ms(5));
    assert_eq!(ledger.residual, Some(exact_ms(0)));
    assert!(merged(&ledger).is_empty());
    assert!(ledger.segments.iter().all(|segment| !segment.inconsistent));
}

#[test]
fn every_entry_names_its_evidence() {
    let ledger = ledger(&["a", "b"], &FULL, Some(20));
    let evidence: Vec<_> = ledger.segments.iter().map(|segment| segment.evidence.unwrap()).collect();
    use Evidence::{Handshake, HeaderDifference, HopHeader, Prober, Receiver};
    let expected = [Handshake, HopHeader, HeaderDifference, HopHeader, HeaderDifference, Receiver, Prober];
    assert_eq!(evidence, expected);
}

#[test]
fn the_route_gives_the_order_whatever_the_evidence_has() {
    let reversed = [FULL[1], FULL[0]];
    assert_eq!(ledger(&["a", "b"], &FULL, Some(20)), ledger(&["a", "b"], &reversed, Some(20)));
}

#[test]
fn bounds_add_up_per_entry_and_in_the_rest() {
    let coarse = |ms: i64| Some(Figure { ns: ms * MS, below_ns: 1, above_ns: 1 });
    let told = vec![timing("a", coarse(85), coarse(80))];
    let sample = sample(&["a"], Duration::from_millis(100), told, Some(exact_ms(20)));
    let ledger = probe_ledger(&sample, coarse(10)).unwrap().ledger;
    let bound = |figure: Figure| (figure.below_ns, figure.above_ns);
    assert_eq!(bound(find(&ledger, "hop:a").figure.unwrap()), (2, 2));
    assert_eq!(bound(find(&ledger, "link:a>service").figure.unwrap()), (1, 1));
    assert_eq!(bound(ledger.unexplained), (4, 4));
    assert_eq!(bound(ledger.residual.unwrap()), (0, 0));
}

// ---- something missing ----------------------------------------------------------------------

#[test]
fn without_a_handshake_the_first_link_is_unexplained() {
    let told = vec![timing("a", Some(exact_ms(85)), Some(exact_ms(80)))];
    let sample = sample(&["a"], Duration::from_millis(100), told, Some(exact_ms(20)));
    let ledger = probe_ledger(&sample, None).unwrap().ledger;
    let first = find(&ledger, "link:eu>a");
    assert_eq!((first.figure, first.evidence), (None, None));
    assert_eq!(ledger.unexplained, exact_ms(15));
    assert_eq!(ledger.residual, Some(exact_ms(0)));
}

#[test]
fn a_missing_downstream_time_joins_a_hop_with_the_link_before_it() {
    let first = ledger(&["a", "b"], &[("a", None, Some(80)), FULL[1]], Some(20));
    assert_eq!(rows(&first)[..2], [("link:eu>a", Some(20)), ("link:a>b", Some(50))]);
    assert_eq!(merged(&first), [("link:eu>a", vec!["a"])]);
    assert_eq!(find(&first, "link:eu>a").evidence, Some(Evidence::HeaderDifference));
    assert_eq!(first.unexplained, exact_ms(0));

    let second = ledger(&["a", "b"], &[FULL[0], ("b", None, Some(22))], Some(20));
    assert_eq!(rows(&second)[2..4], [("link:a>b", Some(58)), ("link:b>service", Some(2))]);
    assert_eq!(merged(&second), [("link:a>b", vec!["b"])]);
}

#[test]
fn a_missing_upstream_time_joins_a_hop_with_the_link_behind_it() {
    let first = ledger(&["a", "b"], &[("a", Some(85), None), FULL[1]], Some(20));
    assert_eq!(rows(&first)[..2], [("link:eu>a", Some(10)), ("link:a>b", Some(55))]);
    assert_eq!(merged(&first), [("link:a>b", vec!["a"])]);

    let last = ledger(&["a", "b"], &[FULL[0], ("b", Some(30), None)], Some(20));
    assert_eq!(rows(&last)[2..4], [("link:a>b", Some(50)), ("link:b>service", Some(10))]);
    assert_eq!(merged(&last), [("link:b>service", vec!["b"])]);
}

#[test]
fn two_half_silent_neighbours_become_one_entry() {
    let ledger = ledger(&["a", "b"], &[("a", Some(85), None), ("b", None, Some(22))], Some(20));
    assert_eq!(
        rows(&ledger)[..3],
        [("link:eu>a", Some(10)), ("link:a>b", Some(63)), ("link:b>service", Some(2))]
    );
    assert_eq!(merged(&ledger), [("link:a>b", vec!["a", "b"])]);
    assert_eq!(ledger.residual, Some(exact_ms(0)));
}

#[test]
fn a_silent_middle_hop_is_inside_one_entry() {
    let told = [("a", Some(85), Some(80)), ("c", Some(30), Some(22))];
    let ledger = ledger(&["a", "b", "c"], &told, Some(20));
    assert_eq!(rows(&ledger)[1..4], [("hop:a", Some(5)), ("link:a>c", Some(50)), ("hop:c", Some(8))]);
    assert_eq!(merged(&ledger), [("link:a>c", vec!["b"])]);
}

#[test]
fn a_silent_first_hop_makes_the_handshake_useless() {
    let ledger = ledger(&["a", "b"], &FULL[1..], Some(20));
    assert_eq!(rows(&ledger)[..2], [("link:eu>b", Some(70)), ("hop:b", Some(8))]);
    assert_eq!(find(&ledger, "link:eu>b").evidence, Some(Evidence::HeaderDifference));
    assert_eq!(merged(&ledger), [("link:eu>b", vec!["a"])]);
    assert_eq!(ledger.unexplained, exact_ms(0));
}

#[test]
fn a_silent_last_hop_is_inside_the_entry_before_the_service() {
    let ledger = ledger(&["a", "b"], &FULL[..1], Some(20));
    assert_eq!(rows(&ledger)[2], ("link:a>service", Some(60)));
    assert_eq!(merged(&ledger), [("link:a>service", vec!["b"])]);
}

#[test]
fn with_every_hop_silent_one_entry_covers_the_path() {
    let ledger = ledger(&["a", "b"], &[], Some(20));
    assert_eq!(rows(&ledger), [("link:eu>service", Some(80)), ("service", Some(20)), ("transfer", Some(1))]);
    assert_eq!(merged(&ledger), [("link:eu>service", vec!["a", "b"])]);
}

#[test]
fn without_the_services_time_the_tail_is_unexplained() {
    let known = ledger(&["a", "b"], &FULL, None);
    assert_eq!(rows(&known)[4..], [("link:b>service", None), ("service", None), ("transfer", Some(1))]);
    assert_eq!(find(&known, "service").evidence, None);
    assert_eq!(known.unexplained, exact_ms(27));
    assert_eq!(known.residual, None);

    let half = ledger(&["a", "b"], &[("a", Some(85), None)], None);
    assert_eq!(rows(&half)[..2], [("link:eu>a", Some(10)), ("link:a>service", None)]);
    assert_eq!(merged(&half), [("link:a>service", vec!["a", "b"])]);
}

// ---- direct targets and unconfigured routes -------------------------------------------------

#[test]
fn a_direct_target_has_one_link_from_the_handshake() {
    let direct = ledger(&[], &[], Some(20));
    let expected = [("link:eu>service", Some(10)), ("service", Some(20)), ("transfer", Some(1))];
    assert_eq!(rows(&direct), expected);
    assert_eq!(find(&direct, "link:eu>service").evidence, Some(Evidence::Handshake));
    assert_eq!(direct.unexplained, exact_ms(70));
    assert_eq!(rows(&ledger(&[], &[], None))[0], ("link:eu>service", None));
}

#[test]
fn without_a_configured_route_the_evidence_gives_the_hops() {
    let ledger = ledger(&[], &FULL, Some(20));
    assert_eq!(rows(&ledger)[2], ("link:a>b", Some(50)));
}

#[test]
fn a_hop_that_is_not_on_the_route_is_counted_and_left_out() {
    let told = vec![timing("stranger", Some(exact_ms(1)), None), timing("a", Some(exact_ms(85)), None)];
    let sample = sample(&["a"], Duration::from_millis(100), told, Some(exact_ms(20)));
    let probe = probe_ledger(&sample, None).unwrap();
    assert_eq!(probe.unknown_hops, 1);
    assert_eq!(rows(&probe.ledger)[..2], [("link:eu>a", None), ("link:a>service", Some(65))]);
}

#[test]
fn of_two_mentions_of_one_hop_the_first_one_counts() {
    let twice = [FULL[0], ("a", Some(1), Some(1)), FULL[1]];
    assert_eq!(ledger(&["a", "b"], &twice, Some(20)), ledger(&["a", "b"], &FULL, Some(20)));
}

#[test]
fn a_hop_cannot_pass_for_an_end_of_an_unconfigured_path() {
    let told = vec![timing("service", Some(exact_ms(1)), None), timing("eu", None, Some(exact_ms(1)))];
    let sample = sample(&[], Duration::from_millis(100), told, Some(exact_ms(20)));
    let probe = probe_ledger(&sample, None).unwrap();
    assert_eq!((probe.unknown_hops, probe.ledger.segments.len()), (2, 3));
}

// ---- figures that do not fit ----------------------------------------------------------------

#[test]
fn a_first_hop_that_reads_late_is_unexplained_and_not_network() {
    let told = vec![timing("a", Some(exact_ms(50)), Some(exact_ms(45)))];
    let sample = sample(&["a"], Duration::from_millis(100), told, Some(exact_ms(40)));
    let ledger = probe_ledger(&sample, Some(exact_ms(1))).unwrap().ledger;
    assert_eq!(ledger.unexplained, exact_ms(49));
    assert_eq!(find(&ledger, "link:eu>a").figure, Some(exact_ms(1)));
}

#[test]
fn an_upstream_time_above_the_downstream_time_is_flagged_and_kept() {
    let ledger = ledger(&["a"], &[("a", Some(50), Some(60))], Some(20));
    let flagged: Vec<_> =
        ledger.segments.iter().filter(|segment| segment.inconsistent).map(|segment| &segment.name).collect();
    assert_eq!(flagged, ["hop:a"]);
    assert_eq!(find(&ledger, "hop:a").figure, Some(exact_ms(-10)));
    assert_eq!(ledger.residual, Some(exact_ms(0)));
}

#[test]
fn a_farther_hop_that_claims_more_than_the_nearer_one_flags_the_link() {
    let ledger = ledger(&["a", "b"], &[("a", Some(50), Some(40)), ("b", Some(45), Some(30))], Some(20));
    let link = find(&ledger, "link:a>b");
    assert_eq!((link.figure, link.inconsistent), (Some(exact_ms(-5)), true));
    assert!(!find(&ledger, "hop:b").inconsistent);
}

#[test]
fn a_negative_within_the_bound_is_kept_and_not_flagged() {
    let coarse = |ms: i64| Some(Figure { ns: ms * MS, below_ns: MS as u64, above_ns: MS as u64 });
    let sample = sample(&["a"], Duration::from_millis(100), vec![timing("a", coarse(50), coarse(51))], None);
    let ledger = probe_ledger(&sample, None).unwrap().ledger;
    let hop = find(&ledger, "hop:a");
    assert_eq!((hop.figure.map(|figure| figure.ns), hop.inconsistent), (Some(-MS), false));
}

// ---- samples without a ledger ---------------------------------------------------------------

#[test]
fn only_white_box_measurements_that_reached_their_trailers_have_a_ledger() {
    let good = || sample(&[], Duration::from_millis(100), Vec::new(), Some(exact_ms(20)));
    assert!(probe_ledger(&good(), None).is_some());
    assert!(probe_ledger(&ProbeSample { outcome: Outcome::Late, ..good() }, None).is_some());

    let mut black_box = good();
    Arc::make_mut(&mut black_box.plan).mode = Mode::BlackBox;
    let mut cut = good();
    cut.phases.response = None;
    let mut silent = good();
    silent.phases.wait = None;
    let refused = Failure {
        status: GrpcStatus::Unavailable,
        class: FailureClass::ALL[0],
        phase: FailurePhase::ALL[0],
        detail: "refused".into(),
    };
    let without = [
        black_box,
        cut,
        silent,
        ProbeSample { outcome: Outcome::Voided(None), ..good() },
        ProbeSample { outcome: Outcome::Failed(refused), ..good() },
    ];
    for sample in without {
        assert_eq!(probe_ledger(&sample, None), None, "{sample:?}");
    }
}

#[test]
fn a_librarys_time_stands_for_the_service_where_no_receiver_tells_its_own() {
    let told = |service| {
        let mut sample = sample(&["a"], Duration::from_millis(100), vec![], service);
        sample.hops.stats.server = Some(exact_ms(7));
        sample
    };
    let mut black_box = told(None);
    Arc::make_mut(&mut black_box.plan).mode = Mode::BlackBox;
    let by_library = probe_ledger(&black_box, None).unwrap().ledger;
    let service = find(&by_library, "service");
    assert_eq!((service.figure, service.evidence), (Some(exact_ms(7)), Some(Evidence::ServerStats)));
    let white_box = probe_ledger(&told(Some(exact_ms(20))), None).unwrap().ledger;
    let service = find(&white_box, "service");
    assert_eq!((service.figure, service.evidence), (Some(exact_ms(20)), Some(Evidence::Receiver)));
}
