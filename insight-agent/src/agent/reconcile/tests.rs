//! Plans before and after, and what is to be done between them.

use super::*;
use crate::model::plan::{Call, Connection, LinkEnds, Mode, RoutePlan, TlsPlan};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

fn plan(name: &str) -> ProbePlan {
    let plan = ProbePlan::example(([127, 0, 0, 1], 1).into());
    let route = RoutePlan { name: "via-a".into(), authority: "x".into(), ..plan.route };
    ProbePlan { name: name.into(), route, ..plan }
}

fn planned(plans: impl IntoIterator<Item = ProbePlan>) -> Vec<Planned> {
    plans.into_iter().map(Planned::new).collect()
}

fn names(plans: &[Arc<ProbePlan>]) -> Vec<&str> {
    plans.iter().map(|plan| plan.name.as_str()).collect()
}

#[test]
fn the_same_plans_in_another_order_are_kept() {
    let running = planned([plan("a"), plan("b"), plan("c")]);
    let steps = steps(&running, planned([plan("c"), plan("a"), plan("b")]));
    assert!(steps.is_empty());
    assert_eq!(steps.kept, 3);
    assert!(Arc::ptr_eq(&steps.all[0].plan, &running[2].plan), "the very one that runs");
}

#[test]
fn what_came_starts_what_changed_is_replaced_and_what_went_stops() {
    let running = planned([plan("a"), plan("b"), plan("c")]);
    let changed = ProbePlan { interval: Duration::from_secs(2), ..plan("b") };
    let steps = steps(&running, planned([plan("d"), changed, plan("a")]));
    assert_eq!(names(&steps.start), ["d"]);
    assert_eq!(names(&steps.replace), ["b"]);
    assert_eq!((steps.stop.as_slice(), steps.kept), (&["c".to_owned()][..], 1));
    let all: Vec<_> = steps.all.iter().map(|planned| planned.plan.name.as_str()).collect();
    assert_eq!(all, ["d", "b", "a"], "in the order of the file");
}

#[test]
fn everything_that_a_probe_is_made_of_makes_another_one() {
    let base = plan("a");
    let link = LinkEnds { from: "me".into(), to: "a".into() };
    let route = |change: fn(&mut RoutePlan)| {
        let mut other = base.clone();
        change(&mut other.route);
        other
    };
    let others = [
        ProbePlan { source: "us".into(), ..base.clone() },
        ProbePlan { target: "us".into(), ..base.clone() },
        ProbePlan { mode: Mode::WhiteBox, ..base.clone() },
        ProbePlan { call: Call::HealthCheck { service: "s".into() }, ..base.clone() },
        ProbePlan { call: Call::Link(link), ..base.clone() },
        ProbePlan { deadline: Duration::from_secs(9), ..base.clone() },
        ProbePlan { drain: Duration::from_secs(9), ..base.clone() },
        ProbePlan { connections: vec![Connection::Fresh], ..base.clone() },
        ProbePlan { ping: false, ..base.clone() },
        ProbePlan { max_in_flight: 5, ..base.clone() },
        ProbePlan { void_share: 0.25, ..base.clone() },
        route(|route| route.port = 2),
        route(|route| route.authority = "y".into()),
        route(|route| route.metadata.push(("k".into(), "v".into()))),
        route(|route| route.tls = Some(TlsPlan::default())),
        route(|route| route.hops.push("a".into())),
        route(|route| route.envoy_hop = Some("a".into())),
        route(|route| route.load_metrics.push("m".into())),
    ];
    for other in others {
        let steps = steps(&planned([base.clone()]), planned([other.clone()]));
        assert_eq!(names(&steps.replace), ["a"], "{other:?}");
    }
}

#[test]
fn a_pem_file_with_another_content_makes_another_probe() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "one").unwrap();
    let mut with_tls = plan("a");
    with_tls.route.tls = Some(TlsPlan { ca_file: Some(file.clone()), ..TlsPlan::default() });
    let running = planned([with_tls.clone()]);
    assert!(steps(&running, planned([with_tls.clone()])).is_empty());
    std::fs::write(&file, "two").unwrap();
    let steps = steps(&running, planned([with_tls]));
    assert_eq!(names(&steps.replace), ["a"]);
}

/// A file: which of a few probes it has, in which order, each in one of a few ways.
fn file() -> impl Strategy<Value = Vec<ProbePlan>> {
    let names = Just(["a", "b", "c", "d", "e"].to_vec()).prop_shuffle();
    (names, 0..=5_usize, proptest::collection::vec(0..3_u64, 5)).prop_map(|(names, count, ways)| {
        let chosen = names.into_iter().zip(ways).take(count);
        chosen.map(|(name, way)| ProbePlan { deadline: Duration::from_secs(way + 1), ..plan(name) }).collect()
    })
}

proptest! {
    /// A prober that does as it is told, and nothing else.
    #[test]
    fn any_sequence_of_files_ends_as_a_start_with_the_last_one(
        files in proptest::collection::vec(file(), 1..12),
    ) {
        let mut running = vec![];
        let mut prober: BTreeMap<String, Arc<ProbePlan>> = BTreeMap::new();
        for file in &files {
            let before = prober.clone();
            let steps = steps(&running, planned(file.clone()));
            for name in &steps.stop {
                prop_assert!(prober.remove(name).is_some(), "{name} did not run");
            }
            for plan in &steps.start {
                prop_assert!(prober.insert(plan.name.clone(), Arc::clone(plan)).is_none());
            }
            for plan in &steps.replace {
                prop_assert!(prober.insert(plan.name.clone(), Arc::clone(plan)).is_some());
            }
            for plan in prober.values() {
                let old = before.get(&plan.name).filter(|old| old.deadline == plan.deadline);
                prop_assert!(old.is_none_or(|old| Arc::ptr_eq(old, plan)), "an unchanged probe was touched");
            }
            let told: Vec<_> = steps.all.iter().map(|planned| Arc::clone(&planned.plan)).collect();
            prop_assert!(told.iter().all(|plan| Arc::ptr_eq(plan, &prober[&plan.name])));
            running = steps.all;
        }
        let fresh = steps(&[], planned(files[files.len() - 1].clone()));
        let plans = |all: &[Planned]| all.iter().map(|one| (*one.plan).clone()).collect::<Vec<_>>();
        prop_assert_eq!(plans(&running), plans(&fresh.all));
        prop_assert_eq!(prober.len(), fresh.start.len());
    }
}
