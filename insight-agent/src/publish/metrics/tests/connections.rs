//! Slots and certificates.

use super::*;
use crate::model::certificate::{Certificates, TlsLooked};
use crate::model::series::probe::HISTOGRAM_PROBES_MOST;

fn several(name: &str, slots: usize) -> Arc<ProbePlan> {
    Arc::new(ProbePlan { slots, ..(*plan(name, "sg")).clone() })
}

/// Every slot that a family has of a probe.
fn slots(shown: &Exposition, family: &str, probe: &str) -> Vec<String> {
    shown.samples(family, &[("probe", probe)]).map(|sample| sample.labels["slot"].clone()).collect()
}

const FAMILIES: [&str; 4] = [
    "insight_probe_slot_seconds_count",
    "insight_probe_slot_seconds_sum",
    "insight_probe_slot_failures_total",
    "insight_probe_slot_connections_total",
];

#[test]
fn only_a_probe_with_several_connections_has_slots_and_all_from_the_start() {
    let plans = [several("one", 1), several("three", 3)];
    let metrics = Metrics::new(&agent(), WINDOW, &plans);
    let shown = scrape(&metrics);
    for family in FAMILIES {
        assert_eq!(slots(&shown, family, "one"), Vec::<String>::new(), "{family}");
        assert_eq!(slots(&shown, family, "three"), ["0", "1", "2"], "{family}");
    }
    metrics.set_plans(&[several("three", 2)]);
    let shown = scrape(&metrics);
    for family in FAMILIES {
        assert_eq!(slots(&shown, family, "three"), ["0", "1"], "{family}");
    }
    metrics.set_plans(&[several("three", 1)]);
    assert!(FAMILIES.iter().all(|family| slots(&scrape(&metrics), family, "three").is_empty()));
}

#[test]
fn a_sample_counts_in_its_slot_and_a_failure_is_no_latency() {
    let plan = several("p", 2);
    let metrics = Metrics::new(&agent(), WINDOW, std::slice::from_ref(&plan));
    let of = |slot, outcome| ProbeSample { slot: Some(slot), ..sample(&plan, outcome) };
    metrics.observe(&ProbeSample { opened: true, ..of(0, Outcome::Ok) });
    metrics.observe(&of(1, Outcome::Late));
    metrics.observe(&of(1, failed()));
    metrics.observe(&of(1, Outcome::Voided(None)));
    let shown = scrape(&metrics);
    let figures = |slot: &str| FAMILIES.map(|family| shown.value(family, &[("slot", slot)]).unwrap());
    assert_eq!(figures("0"), [1.0, 0.103, 0.0, 1.0]);
    assert_eq!(figures("1"), [1.0, 0.103, 1.0, 0.0]);
}

const EXPIRY: &str = "insight_probe_tls_certificate_expiry_timestamp_seconds";

#[test]
fn a_certificates_end_is_shown_until_its_probe_is_another_one() {
    let (stays, goes) = (plan("stays", "sg"), plan("goes", "sg"));
    let metrics = Metrics::new(&agent(), WINDOW, &[Arc::clone(&stays), Arc::clone(&goes)]);
    let ends = Certificates { client: None, ca: None, server: Some(1_900_000_000) };
    metrics.certificates(&stays, ends);
    metrics.certificates(&goes, Certificates { client: Some(5), ..ends });
    let shown = scrape(&metrics);
    let of = |probe, kind| [("probe", probe), ("certificate", kind)];
    assert_eq!(shown.value(EXPIRY, &of("stays", "server")), Some(1_900_000_000.0));
    assert_eq!(shown.value(EXPIRY, &of("stays", "client")), None, "what is not known is absent");
    assert_eq!(shown.value(EXPIRY, &of("goes", "client")), Some(5.0));
    metrics.set_plans(&[stays, plan("goes", "sg")]);
    let shown = scrape(&metrics);
    assert_eq!(shown.samples(EXPIRY, &[]).count(), 1);
}

#[test]
fn with_many_probes_the_earliest_end_of_a_path_is_shown() {
    let plans: Vec<_> = (0..=HISTOGRAM_PROBES_MOST).map(|at| plan(&format!("p{at}"), "sg")).collect();
    let metrics = Metrics::new(&agent(), WINDOW, &plans);
    for (plan, end) in plans.iter().zip(1000..) {
        metrics.certificates(plan, Certificates { server: Some(end), ..Certificates::default() });
    }
    let shown = scrape(&metrics);
    assert_eq!(shown.samples(EXPIRY, &[]).count(), 1);
    assert_eq!(shown.value(EXPIRY, &[("probe", ""), ("certificate", "server")]), Some(1000.0));
}

#[test]
fn files_that_cannot_be_used_are_counted_and_shown_as_long_as_they_are_there() {
    let metrics = Metrics::new(&agent(), WINDOW, &[]);
    let loads = |result| scrape(&metrics).value("insight_tls_file_loads_total", &[("result", result)]);
    assert_eq!((loads("loaded"), loads("failed")), (Some(0.0), Some(0.0)));
    metrics.tls_files_looked_at(TlsLooked { loaded: 0, failed: 2, stale: 2 });
    assert_eq!(
        (loads("failed"), scrape(&metrics).value("insight_tls_files_stale", &[])),
        (Some(2.0), Some(2.0))
    );
    metrics.tls_files_looked_at(TlsLooked { loaded: 2, failed: 0, stale: 0 });
    assert_eq!(
        (loads("loaded"), scrape(&metrics).value("insight_tls_files_stale", &[])),
        (Some(2.0), Some(0.0))
    );
}
