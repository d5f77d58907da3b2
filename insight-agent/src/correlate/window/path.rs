//! One figure per pair of regions: the users' own latency.

use super::{carries_path, median};
use crate::model::plan::{Connection, Mode, ProbePlan};
use crate::model::sample::ProbeSample;
use crate::model::window::{LedgerWindow, PathWindow};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Latencies of the window, by probe: those of one that goes can be left out.
#[derive(Debug, Default)]
pub(super) struct PathLatencies {
    by_probe: HashMap<String, Vec<f64>>,
}

/// Those of all probes of a path.
#[derive(Debug, Default)]
struct ByMode {
    white_box: Vec<f64>,
    black_box: Vec<f64>,
}

impl PathLatencies {
    /// Adds a sample that carries its path.
    pub(super) fn add(&mut self, sample: &ProbeSample) {
        let Some(total) = sample.total() else { return };
        match self.by_probe.get_mut(&sample.plan.name) {
            Some(latencies) => latencies.push(total.as_secs_f64()),
            None => drop(self.by_probe.insert(sample.plan.name.clone(), vec![total.as_secs_f64()])),
        }
    }

    /// Forgets what is not of these probes.
    pub(super) fn retain(&mut self, names: &HashSet<&str>) {
        self.by_probe.retain(|name, _| names.contains(name.as_str()));
    }

    /// One entry per configured pair of regions, with the ledgers of its probes.
    pub(super) fn finish<Ledgers: IntoIterator<Item = LedgerWindow>>(
        mut self,
        plans: &[Arc<ProbePlan>],
        mut ledgers_of: impl FnMut(&Arc<ProbePlan>) -> Ledgers,
    ) -> Vec<PathWindow> {
        let mut paths: BTreeMap<(String, String), (ByMode, Vec<LedgerWindow>)> = BTreeMap::new();
        // A link is a piece of a path: its far end's region makes no pair.
        for plan in plans.iter().filter(|plan| plan.mode != Mode::Link) {
            let (by_mode, ledgers) = paths.entry((plan.source.clone(), plan.target.clone())).or_default();
            let latencies = self.by_probe.remove(&plan.name).unwrap_or_default();
            match plan.mode {
                Mode::WhiteBox => by_mode.white_box.extend(latencies),
                // A link has no request, and so none.
                Mode::BlackBox | Mode::Link => by_mode.black_box.extend(latencies),
            }
            let reused = plan.connections.contains(&Connection::Reused);
            if reused && carries_path(plan, Connection::Reused) {
                ledgers.extend(ledgers_of(plan));
            }
        }
        paths
            .into_iter()
            .map(|((source, target), (by_mode, ledgers))| {
                let latency = if source == target { None } else { by_mode.median() };
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
