//! What is known of all discoveries: where the reloader, the task and the pages meet.

use crate::config::{Dropped, Expanded, Rosters};
use crate::model::discovery::{DiscoveryPlan, DiscoveryState, DropCount, DropReason, LookupFailure, state};
use crate::model::status::{DiscoveryStatus, DropStatus, LookupFailureStatus};
use crate::publish::metrics::Metrics;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use tokio::sync::watch;

/// What the templates are filled with, and how their sources fare.
pub(in crate::agent) struct Templates {
    plans: watch::Sender<Vec<DiscoveryPlan>>,
    metrics: Arc<Metrics>,
    board: Mutex<Board>,
}

#[derive(Default)]
struct Board {
    /// In the order of the file.
    states: Vec<DiscoveryState>,
    /// What is not made at present: what is new among it is counted.
    dropped: BTreeSet<Key>,
}

/// What tells two drops apart.
type Key = (String, &'static str, usize, String, DropReason);

fn key(dropped: &Dropped) -> Key {
    (dropped.discovery.clone(), dropped.table, dropped.line, dropped.endpoint.clone(), dropped.reason)
}

impl Templates {
    pub(in crate::agent) fn new(plans: &[DiscoveryPlan], metrics: Arc<Metrics>) -> Self {
        let templates = Self { plans: watch::Sender::new(Vec::new()), metrics, board: Mutex::default() };
        templates.watch(plans);
        templates
    }

    /// What is watched, now and from now on.
    pub(super) fn plans(&self) -> watch::Receiver<Vec<DiscoveryPlan>> {
        self.plans.subscribe()
    }

    /// Has these watched from now on. What is known of those that stay stays.
    pub(in crate::agent) fn watch(&self, plans: &[DiscoveryPlan]) {
        self.change(|board| {
            let mut before: BTreeMap<_, _> = std::mem::take(&mut board.states)
                .into_iter()
                .map(|state| (state.name.clone(), state))
                .collect();
            let state = |plan: &DiscoveryPlan| {
                let kind = plan.source.kind();
                match before.remove(&plan.name) {
                    Some(known) => DiscoveryState { kind, ..known },
                    None => DiscoveryState::new(plan.name.clone(), kind),
                }
            };
            board.states = plans.iter().map(state).collect();
            board.dropped.retain(|(name, ..)| plans.iter().any(|plan| plan.name == *name));
        });
        self.plans.send_if_modified(|known| {
            let differs = known != plans;
            if differs {
                *known = plans.to_vec();
            }
            differs
        });
    }

    /// Notes what became of rosters.
    pub(in crate::agent) fn filled(&self, expanded: &Expanded, rosters: &Rosters) {
        let mut by_reason: BTreeMap<(&str, DropReason), DropCount> = BTreeMap::new();
        for dropped in &expanded.dropped {
            let reason = dropped.reason;
            let count = by_reason.entry((&dropped.discovery, reason)).or_insert_with(|| DropCount {
                reason,
                count: 0,
                example: dropped.to_string(),
            });
            count.count += 1;
        }
        let made = |name: &str, table: &str| {
            expanded.made.iter().filter(|made| made.discovery == name && made.table == table).count()
        };
        let now: BTreeSet<_> = expanded.dropped.iter().map(key).collect();
        let new = self.change(|board| {
            for state in &mut board.states {
                state.endpoints = rosters.get(&state.name).map(|roster| roster.len());
                state.probes = made(&state.name, "probe");
                state.nodes = made(&state.name, "node");
                let of_it = by_reason.iter().filter(|((name, _), _)| *name == state.name);
                state.dropped = of_it.map(|(_, count)| count.clone()).collect();
            }
            let new: Vec<_> = now.difference(&board.dropped).cloned().collect();
            board.dropped = now;
            new
        });
        for (name, _, _, _, reason) in &new {
            self.metrics.discovery_dropped(name, *reason);
        }
        for dropped in expanded.dropped.iter().filter(|dropped| new.contains(&key(dropped))) {
            tracing::debug!("discovery {:?}: {dropped}", dropped.discovery);
        }
        for ((name, reason), DropCount { count, example, .. }) in &by_reason {
            if new.iter().any(|(of, _, _, _, why)| of == name && why == reason) {
                let reason = reason.as_str();
                tracing::warn!("discovery {name:?}: {count} left out ({reason}), such as {example}");
            }
        }
    }

    /// A source knows who is there. **`is_kept`**: nobody, and the roster before is kept nevertheless;
    /// nothing where it only said that the last one still holds.
    pub(super) fn learnt(&self, name: &str, is_kept: Option<bool>) {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
        self.change_one(name, |state| {
            if state.failure.take().is_some() {
                tracing::info!("discovery {name:?}: knows who is there again");
            }
            state.success = Some(state::Success { at: Instant::now(), since_epoch });
            if let Some(is_kept) = is_kept {
                if is_kept && !state.kept_when_empty {
                    tracing::warn!(
                        "discovery {name:?}: nobody is there: the last roster is kept (keep_when_empty)"
                    );
                }
                state.kept_when_empty = is_kept;
            }
        });
    }

    /// A source does not know who is there.
    pub(super) fn failed(&self, name: &str, failure: LookupFailure) {
        self.metrics.discovery_failed(name, failure.class);
        self.change_one(name, |state| {
            let is_known = state.failure.as_ref().is_some_and(|(known, _)| known.detail == failure.detail);
            if !is_known {
                tracing::warn!("discovery {name:?}: the last roster is kept: {}", failure.detail);
            }
            let since = state.failure.as_ref().map_or_else(Instant::now, |(_, since)| *since);
            state.failure = Some((failure, since));
        });
    }

    /// Another roster of it counts.
    pub(super) fn updated(&self, name: &str) {
        self.metrics.discovery_updated(name);
    }

    fn change_one(&self, name: &str, change: impl FnOnce(&mut DiscoveryState)) {
        self.change(|board| {
            if let Some(state) = board.states.iter_mut().find(|state| state.name == name) {
                change(state);
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Board) -> T) -> T {
        let mut board = self.board();
        let result = change(&mut board);
        self.metrics.publish_discoveries(board.states.clone());
        result
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // Every change replaces whole figures.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them as of `now`, in the order of the file.
    pub(in crate::agent) fn status(&self, now: Instant) -> Vec<DiscoveryStatus> {
        self.board().states.iter().map(|state| status(state, now)).collect()
    }
}

fn status(state: &DiscoveryState, now: Instant) -> DiscoveryStatus {
    let age = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
    DiscoveryStatus {
        name: state.name.clone(),
        kind: state.kind.to_owned(),
        up: state.is_up(),
        endpoints: state.endpoints,
        age_seconds: state.success.map(|success| age(success.at)),
        failure: state.failure.as_ref().map(|(failure, since)| LookupFailureStatus {
            class: failure.class.as_str().to_owned(),
            detail: failure.detail.clone(),
            lasting_seconds: age(*since),
        }),
        kept_when_empty: state.kept_when_empty,
        probes: state.probes,
        nodes: state.nodes,
        dropped: state
            .dropped
            .iter()
            .map(|drop| DropStatus {
                reason: drop.reason.as_str().to_owned(),
                count: drop.count,
                example: drop.example.clone(),
            })
            .collect(),
    }
}
