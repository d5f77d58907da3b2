//! One figure per pair of regions: the users' own latency.

use super::{carries_path, median};
use crate::model::plan::{Connection, Mode, ProbePlan};
use crate::model::sample::ProbeSample;
use crate::model::window::{LedgerWindow, PathWindow};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Latencies of the window, by source and target.
#[derive(Debug, Default)]
pub(super) struct PathLatencies {
    by_path: BTreeMap<(String, String), ByMode>,
}

#[derive(Debug, Default)]
struct ByMode {
    white_box: Vec<f64>,
    black_box: Vec<f64>,
}

impl PathLatencies {
    /// Adds a sample that carries its path.
    pub(super) fn add(&mut self, sample: &ProbeSample) {
        let Some(total) = sample.total() else { return };
        let plan = &sample.plan;
        let by_mode = self.by_path.entry((plan.source.clone(), plan.target.clone())).or_default();
        let latencies = match plan.mode {
            Mode::WhiteBox => &mut by_mode.white_box,
            Mode::BlackBox => &mut by_mode.black_box,
            // No request, so no latency.
            Mode::Link => return,
        };
        latencies.push(total.as_secs_f64());
    }

    /// One entry per configured pair of regions, with the ledgers of its probes.
    pub(super) fn finish<Ledgers: IntoIterator<Item = LedgerWindow>>(
        mut self,
        plans: &[Arc<ProbePlan>],
        mut ledgers_of: impl FnMut(&Arc<ProbePlan>) -> Ledgers,
    ) -> Vec<PathWindow> {
        let mut paths: BTreeMap<(String, String), Vec<LedgerWindow>> = BTreeMap::new();
        // A link is a piece of a path: its far end's region makes no pair.
        for plan in plans.iter().filter(|plan| plan.mode != Mode::Link) {
            let ledgers = paths.entry((plan.source.clone(), plan.target.clone())).or_default();
            let reused = plan.connections.contains(&Connection::Reused);
            if reused && carries_path(plan, Connection::Reused) {
                ledgers.extend(ledgers_of(plan));
            }
        }
        paths
            .into_iter()
            .map(|(path, ledgers)| {
                let cross_region = path.0 != path.1;
                let latency = self.by_path.remove(&path).filter(|_| cross_region).and_then(ByMode::median);
                let (source, target) = path;
                PathWindow { source, target, cross_region_latency: latency, ledgers }
            })
            .collect()
    }
}

impl ByMode {
    fn median(mut self) -> Option<Duration> {
        let latencies = if self.white_box.is_empty() { &mut self.black_box } else { &mut self.white_box };
        median(latencies).map(Duration::from_secs_f64)
    }
}
