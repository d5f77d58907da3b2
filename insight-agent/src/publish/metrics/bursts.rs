//! Bursts: counted when they have ended, with handles looked up each time, since they are rare.

use super::families::{CounterRow, Counters};
use super::registry::Registry;
use super::summaries::{Summaries, SummaryRow};
use crate::model::burst as model;
use crate::model::plan::ProbePlan;
use crate::model::series::burst;
use std::collections::HashSet;
use std::sync::Arc;

const BURSTS: CounterRow<4> = CounterRow::of(&burst::BURSTS);
const SAMPLES: CounterRow<4> = CounterRow::of(&burst::SAMPLES);
const DURATION: SummaryRow<3> = SummaryRow::of(&burst::DURATION);

/// The families of bursts.
pub(super) struct Bursts {
    bursts: Counters<4>,
    samples: Counters<4>,
    duration: Summaries<3>,
}

impl Bursts {
    pub(super) fn register(registry: &Registry) -> Self {
        let (bursts, samples) = (BURSTS.register(registry), SAMPLES.register(registry));
        Self { bursts, samples, duration: DURATION.register(registry) }
    }

    /// Removes what is of none of these plans.
    pub(super) fn set_plans(&self, plans: &[Arc<ProbePlan>]) {
        let stay: HashSet<[&str; 3]> =
            plans.iter().map(|plan| [plan.source.as_str(), &plan.target, &plan.name]).collect();
        let stays = |values: &[&str]| values.first_chunk::<3>().is_some_and(|of| stay.contains(of));
        self.bursts.retain(stays);
        self.samples.retain(stays);
        self.duration.retain(stays);
    }

    /// Counts one that has ended.
    pub(super) fn observe(&self, plan: &ProbePlan, burst: &model::Burst) {
        let [source, target, probe] = [plan.source.as_str(), &plan.target, &plan.name];
        self.bursts.with([source, target, probe, burst.cause.as_str()]).inc();
        for (outcome, count) in model::Burst::OUTCOMES.into_iter().zip(burst.counts()) {
            self.samples.with([source, target, probe, outcome]).inc_by(count);
        }
        let duration = self.duration.with([source, target, probe]);
        burst.good.iter().for_each(|latency| duration.observe(*latency));
    }
}
