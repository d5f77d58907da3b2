//! What holds for every ledger, whatever the hops claim.

use super::probe_ledger;
use super::tests::{sample, timing};
use crate::model::figure::Figure;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// Up to an hour, as parsers guarantee, with bounds up to a second.
fn figure() -> impl Strategy<Value = Figure> {
    (0_i64..3_600_000_000_000, 0_u64..1_000_000_000, 0_u64..1_000_000_000)
        .prop_map(|(ns, below_ns, above_ns)| Figure { ns, below_ns, above_ns })
}

fn told() -> impl Strategy<Value = Vec<(Option<Figure>, Option<Figure>)>> {
    vec((option::of(figure()), option::of(figure())), 0..8)
}

proptest! {
    #[test]
    fn end_to_end_is_the_sum_of_what_is_known_and_the_rest(
        told in told(),
        configured in any::<bool>(),
        silent in vec(any::<bool>(), 8),
        first_byte in (0_u64..3_600_000_000_000).prop_map(Duration::from_nanos),
        first_link in option::of(figure()),
        service in option::of(figure()),
    ) {
        let names: Vec<String> = (0..told.len()).map(|hop| format!("h{hop}")).collect();
        let hops = names.iter().zip(told).zip(silent).filter(|(_, silent)| !silent);
        let told: Vec<_> = hops.map(|((name, (downstream, upstream)), _)| timing(name, downstream, upstream)).collect();
        let expected: Vec<String> =
            if configured { names.clone() } else { told.iter().map(|hop| hop.name.clone()).collect() };
        let route: Vec<&str> = if configured { names.iter().map(String::as_str).collect() } else { Vec::new() };
        let probe = probe_ledger(&sample(&route, first_byte, told, service), first_link).unwrap();
        let ledger = probe.ledger;

        let known: i64 = ledger.segments.iter().filter_map(|segment| segment.figure).map(|figure| figure.ns).sum();
        prop_assert_eq!(ledger.end_to_end.ns, known + ledger.unexplained.ns);
        prop_assert_eq!(ledger.residual, service.map(|_| Figure::exact(0)));
        prop_assert_eq!(probe.unknown_hops, 0);

        let unique: BTreeSet<_> = ledger.segments.iter().map(|segment| &segment.name).collect();
        prop_assert_eq!(unique.len(), ledger.segments.len(), "a segment name appears twice");

        // Every hop is named once, in path order: by its own entry, or by the one that covers it.
        let mut covered = Vec::new();
        for segment in &ledger.segments {
            covered.extend(segment.name.strip_prefix("hop:").map(str::to_owned));
            covered.extend(segment.merged.iter().cloned());
            prop_assert_eq!(segment.evidence.is_some(), segment.figure.is_some());
            prop_assert_eq!(segment.inconsistent, segment.figure.is_some_and(Figure::is_inconsistent));
        }
        prop_assert_eq!(covered, expected);
    }

    #[test]
    fn no_figures_make_a_ledger_panic(
        told in vec(("[abs]|service|eu", option::of(wild()), option::of(wild())), 0..6),
        route in vec("[abs]", 0..4),
        first_byte in any::<u64>().prop_map(Duration::from_secs),
        first_link in option::of(wild()),
        service in option::of(wild()),
    ) {
        let told = told.iter().map(|(name, downstream, upstream)| timing(name, *downstream, *upstream)).collect();
        let route: Vec<&str> = route.iter().map(String::as_str).collect();
        let mut sample = sample(&route, Duration::ZERO, told, service);
        sample.phases.wait = Some(first_byte);
        sample.phases.request = None;
        prop_assert_eq!(probe_ledger(&sample, first_link), None);
        sample.phases.request = Some(Duration::ZERO);
        prop_assert!(probe_ledger(&sample, first_link).is_some());
    }
}

/// Any figure at all, also one that no parser lets through.
fn wild() -> impl Strategy<Value = Figure> {
    (any::<i64>(), any::<u64>(), any::<u64>()).prop_map(|(ns, below_ns, above_ns)| Figure {
        ns,
        below_ns,
        above_ns,
    })
}
