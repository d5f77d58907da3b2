//! Health watches: the state that was told last, and how often it changed or nobody told any.

use super::families::{CounterRow, Counters, GaugeRow, register_collector};
use super::registry::{Collector, Family, Registry};
use crate::model::health::{HealthEvent, ServingState};
use crate::model::plan::{Call, ProbePlan};
use crate::model::series::{Series, health};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

const SERVING: GaugeRow<3> = GaugeRow::of(&health::SERVING);
const AGE: GaugeRow<3> = GaugeRow::of(&health::AGE);
const CHANGES: CounterRow<3> = CounterRow::of(&health::CHANGES);
const BREAKS: CounterRow<4> = CounterRow::of(&health::BREAKS);

/// The families of health watches.
pub(super) struct Health {
    shown: Arc<Shown>,
    changes: Counters<3>,
    breaks: Counters<4>,
}

/// By the probe's name.
#[derive(Default)]
struct Shown(Mutex<BTreeMap<String, Told>>);

struct Told {
    plan: Arc<ProbePlan>,
    state: ServingState,
    since: Instant,
    /// Whether the stream stands on which it was told.
    is_heard: bool,
}

impl Shown {
    fn told(&self) -> MutexGuard<'_, BTreeMap<String, Told>> {
        // A poisoned lock only means that a thread panicked between two assignments.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn labels(plan: &ProbePlan) -> [&str; 3] {
    [&plan.source, &plan.target, &plan.name]
}

impl Health {
    pub(super) fn register(registry: &Registry) -> Self {
        let shown = Arc::new(Shown::default());
        register_collector(registry, StateCollector(Arc::clone(&shown)));
        Self { shown, changes: CHANGES.register(registry), breaks: BREAKS.register(registry) }
    }

    /// Removes what is of none of these plans.
    pub(super) fn set_plans(&self, plans: &[Arc<ProbePlan>]) {
        let watches: Vec<_> =
            plans.iter().filter(|plan| matches!(plan.call, Call::HealthWatch { .. })).collect();
        self.shown.told().retain(|_, told| watches.iter().any(|plan| Arc::ptr_eq(plan, &told.plan)));
        let stay: HashSet<_> = watches.iter().map(|plan| labels(plan)).collect();
        let stays = |values: &[&str]| values.first_chunk::<3>().is_some_and(|of| stay.contains(of));
        self.changes.retain(stays);
        self.breaks.retain(stays);
    }

    pub(super) fn take(&self, plan: &Arc<ProbePlan>, event: &HealthEvent) {
        let changes = self.changes.with(labels(plan));
        let mut told = self.shown.told();
        match event {
            HealthEvent::Told(state) => {
                let before = told.get(&plan.name).filter(|before| Arc::ptr_eq(&before.plan, plan));
                let same = before.filter(|before| before.state == *state);
                changes.inc_by(u64::from(before.is_some() && same.is_none()));
                let since = same.map_or_else(Instant::now, |same| same.since);
                let now = Told { plan: Arc::clone(plan), state: *state, since, is_heard: true };
                told.insert(plan.name.clone(), now);
            }
            HealthEvent::Broken(failure) => {
                if let Some(told) = told.get_mut(&plan.name) {
                    told.is_heard = false;
                }
                let [source, target, probe] = labels(plan);
                self.breaks.with([source, target, probe, failure.class.as_str()]).inc();
            }
        }
    }
}

/// The registry's handle on the states.
struct StateCollector(Arc<Shown>);

impl Collector for StateCollector {
    fn rows(&self) -> Vec<&'static Series> {
        vec![SERVING.row(), AGE.row()]
    }

    fn collect(&self) -> Vec<Family> {
        let (mut serving, mut age) = (SERVING.family(), AGE.family());
        for told in self.0.told().values().filter(|told| told.is_heard) {
            let is_serving = f64::from(u8::from(told.state == ServingState::Serving));
            serving.put(labels(&told.plan), Some(is_serving));
            age.put(labels(&told.plan), Some(told.since.elapsed().as_secs_f64()));
        }
        vec![serving.into_family(), age.into_family()]
    }
}
