//! Runs the sources of all discoveries, and has the templates filled anew when somebody came or went.
//!
//! ```text
//! sources, a task each ── Found ──► this task ── all rosters, when it is quiet ──► Reloader::refill
//!                                     ▲                                               │
//!                                     └────────── plans, after a reload ──────────────┘
//! ```
//!
//! A roster stays in use until its source brings another one, whatever happens to the source meanwhile: its
//! own failures, another configuration of it, or a reload that changes something else.

mod board;
mod look;

pub(super) use board::Templates;
pub use look::{Looked, look};

use super::reload::Reloader;
use crate::collect::discovery::{Outlet, source};
use crate::config::Rosters;
use crate::model::discovery::{DiscoveryPlan, Endpoint, Found};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// What comes within this much of each other counts together: a deployment changes many endpoints at once,
/// and each change costs what a reload costs. Half of it would be felt as twice the changes, double as delay.
const QUIET: Duration = Duration::from_millis(500);

/// So long a change waits at most, however restless the sources are.
const LATE: Duration = Duration::from_secs(5);

/// Between two tries to take rosters that could not be taken: files that people have to mend.
const RETRY: Duration = Duration::from_secs(10);

/// News that may wait here: with half of it sources would wait a moment longer, and nothing be lost.
const TOLD_QUEUED: usize = 64;

/// The task that does it.
pub(super) struct Discovery {
    reloader: Arc<Reloader>,
    templates: Arc<Templates>,
    plans: watch::Receiver<Vec<DiscoveryPlan>>,
    sources: JoinSet<()>,
    /// By the discovery's name.
    running: BTreeMap<String, Source>,
    /// The number that the next source gets.
    next: usize,
    outlet: mpsc::Sender<(usize, Found)>,
    rosters: Rosters,
    waiting: Waiting,
}

/// A source at work.
struct Source {
    plan: DiscoveryPlan,
    number: usize,
    task: AbortHandle,
}

/// Changes that do not count yet.
#[derive(Debug, Default)]
struct Waiting {
    /// Discoveries with another roster than the one in use.
    changed: BTreeSet<String>,
    /// When the first of them came.
    first: Option<Instant>,
    /// When they are due.
    due: Option<Instant>,
}

impl Waiting {
    fn add(&mut self, discovery: &str, now: Instant) {
        self.changed.insert(discovery.to_owned());
        let first = *self.first.get_or_insert(now);
        self.due = Some((now + QUIET).min(first + LATE).max(now));
    }
}

impl Discovery {
    pub(super) fn new(
        reloader: Arc<Reloader>,
        templates: Arc<Templates>,
    ) -> (Self, mpsc::Receiver<(usize, Found)>) {
        let (outlet, told) = mpsc::channel(TOLD_QUEUED);
        let plans = templates.plans();
        let (sources, running, rosters) = (JoinSet::new(), BTreeMap::new(), Rosters::new());
        let waiting = Waiting::default();
        (Self { reloader, templates, plans, sources, running, next: 0, outlet, rosters, waiting }, told)
    }

    /// Ends when a source ends, which none should; all sources end with it.
    pub(super) async fn run(mut self, mut told: mpsc::Receiver<(usize, Found)>) {
        let plans = self.plans.borrow_and_update().clone();
        self.follow(plans);
        loop {
            let due = self.waiting.due;
            tokio::select! {
                // Whoever tells of plans lives as long as the agent.
                Ok(()) = self.plans.changed() => {
                    let plans = self.plans.borrow_and_update().clone();
                    self.follow(plans);
                }
                Some((number, found)) = told.recv() => self.take(number, found),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.refill().await;
                }
                Some(ended) = self.sources.join_next() => {
                    if !ended.is_err_and(|error| error.is_cancelled()) {
                        return;
                    }
                }
            }
        }
    }

    /// Runs the sources of these plans and no others. Those that are the same go on; one that looks elsewhere
    /// now keeps the roster until it has brought its own.
    fn follow(&mut self, plans: Vec<DiscoveryPlan>) {
        let names: BTreeSet<_> = plans.iter().map(|plan| plan.name.clone()).collect();
        self.running.retain(|name, source| {
            let stays = names.contains(name);
            if !stays {
                source.task.abort();
            }
            stays
        });
        self.rosters.retain(|name, _| names.contains(name));
        for plan in plans {
            if let Some(running) = self.running.get_mut(&plan.name) {
                if running.plan.source == plan.source {
                    running.plan = plan;
                    continue;
                }
                running.task.abort();
            }
            let number = self.next;
            self.next += 1;
            let outlet = Outlet::new(number, self.outlet.clone());
            let task = self.sources.spawn(source(&plan.source).watch(outlet));
            self.running.insert(plan.name.clone(), Source { plan, number, task });
        }
    }

    fn take(&mut self, number: usize, found: Found) {
        // News of a source that has been replaced may be on their way still.
        let Some(source) = self.running.values().find(|source| source.number == number) else { return };
        let name = &source.plan.name;
        match found {
            Found::Failed(failure) => self.templates.failed(name, failure),
            Found::Unchanged => self.templates.learnt(name, None),
            Found::Roster(endpoints) => {
                let known = self.rosters.get(name);
                let is_kept = source.plan.keep_when_empty
                    && endpoints.is_empty()
                    && known.is_some_and(|known| !known.is_empty());
                self.templates.learnt(name, Some(is_kept));
                if !is_kept && known.is_none_or(|known| **known != endpoints) {
                    tell_difference(name, known, &endpoints);
                    self.rosters.insert(name.clone(), Arc::new(endpoints));
                    self.waiting.add(name, Instant::now());
                }
            }
        }
    }

    async fn refill(&mut self) {
        match self.reloader.refill(self.rosters.clone()).await {
            Ok(()) => {
                for name in std::mem::take(&mut self.waiting).changed {
                    self.templates.updated(&name);
                }
            }
            Err(why) => {
                tracing::error!("discovery: probes and nodes go on as they are: {why}");
                self.waiting.due = Some(Instant::now() + RETRY);
            }
        }
    }
}

fn tell_difference(name: &str, before: Option<&Arc<Vec<Endpoint>>>, now: &[Endpoint]) {
    let names = |endpoints: &[Endpoint]| -> BTreeSet<String> {
        endpoints.iter().map(|endpoint| endpoint.name.clone()).collect()
    };
    let (before, after) = (before.map(|before| names(before)).unwrap_or_default(), names(now));
    let (came, went) = (after.difference(&before).count(), before.difference(&after).count());
    tracing::info!("discovery {name:?}: {} endpoints: {came} came, {went} went", now.len());
}

#[cfg(test)]
mod tests;
