//! Other plans while the agent runs.

use super::*;
use crate::model::plan::TlsPlan;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Names and labels of everything that is shown.
fn series(metrics: &Metrics) -> BTreeSet<String> {
    let text = metrics.render();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

fn changed(plan: &Arc<ProbePlan>, change: fn(&mut ProbePlan)) -> Arc<ProbePlan> {
    let mut other = (**plan).clone();
    change(&mut other);
    Arc::new(other)
}

#[test]
fn series_with_the_same_labels_go_on_and_those_of_nobody_are_gone() {
    let (stays, goes) = (plan("stays", "sg"), plan("goes", "sg"));
    let metrics = Metrics::new(&agent(), WINDOW, &[Arc::clone(&stays), Arc::clone(&goes)]);
    for plan in [&stays, &goes] {
        metrics.observe(&sample(plan, Outcome::Ok));
        metrics.observe(&sample(plan, failed()));
    }
    publish(&metrics, &window(&goes));
    let replaced = changed(&stays, |plan| plan.deadline *= 2);
    metrics.set_plans(&[Arc::clone(&replaced)]);
    assert!(!series(&metrics).iter().any(|series| series.contains("\"goes\"")));
    metrics.observe(&sample(&replaced, Outcome::Ok));
    let ok = [("probe", "stays"), ("connection", "reused"), ("status", "OK")];
    assert_eq!(scrape(&metrics).value("insight_probe_results_total", &ok), Some(2.0));
    let elsewhere = changed(&stays, |plan| plan.target = "us".to_owned());
    metrics.set_plans(&[elsewhere]);
    assert_eq!(scrape(&metrics).value("insight_probe_results_total", &ok), Some(0.0), "another series");
}

#[test]
fn gauges_of_a_plan_that_stays_stay_and_a_path_of_others_loses_its_latency() {
    let (one, two) = (plan("one", "sg"), plan("two", "sg"));
    let metrics = Metrics::new(&agent(), WINDOW, &[Arc::clone(&one), Arc::clone(&two)]);
    let mut both = window(&one);
    both.probes.extend(window(&two).probes);
    publish(&metrics, &both);
    let ratio = |metrics: &Metrics, probe: &str| {
        let labels = [("probe", probe), ("connection", "reused")];
        scrape(metrics).value("insight_probe_success_ratio", &labels)
    };
    let latency = |metrics: &Metrics| scrape(metrics).value("cross_region_latency_ms", &[]);
    metrics.set_plans(&[Arc::clone(&two), Arc::clone(&one)]);
    assert!(ratio(&metrics, "one").is_some() && ratio(&metrics, "two").is_some());
    assert!(latency(&metrics).is_some());
    metrics.set_plans(&[one]);
    assert!(ratio(&metrics, "one").is_some() && ratio(&metrics, "two").is_none());
    assert_eq!(latency(&metrics), None, "it may be that of the other");
}

fn plans() -> impl Strategy<Value = Vec<Arc<ProbePlan>>> {
    proptest::collection::vec(proptest::option::of(0..6_u8), 3).prop_map(|ways| {
        let named = ["a", "b", "c"].iter().zip(ways).filter_map(|(name, way)| Some((name, way?)));
        let plans = named.map(|(name, way)| match way {
            0 => plan(name, "sg"),
            1 => plan(name, "us"),
            2 => changed(&plan(name, "sg"), |plan| plan.route.tls = Some(TlsPlan::default())),
            3 => changed(&plan(name, "sg"), |plan| plan.connections.truncate(1)),
            // One link has one probe.
            4 if *name == "a" => link_plan(name),
            _ if *name == "a" => changed(&link_plan(name), |plan| plan.ping = false),
            _ => changed(&plan(name, "sg"), |plan| plan.mode = Mode::BlackBox),
        });
        plans.collect()
    })
}

proptest! {
    #[test]
    fn any_sequence_of_plans_ends_with_the_series_of_a_start_with_the_last_ones(
        sequence in proptest::collection::vec(plans(), 1..6),
    ) {
        let metrics = Metrics::new(&agent(), WINDOW, &sequence[0]);
        for plans in &sequence[1..] {
            metrics.set_plans(plans);
        }
        let fresh = Metrics::new(&agent(), WINDOW, &sequence[sequence.len() - 1]);
        prop_assert_eq!(series(&metrics), series(&fresh));
    }
}
