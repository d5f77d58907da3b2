//! What happened on a probe's connections since somebody last asked.

use crate::model::connection_event::ConnectionEvent;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts of events, shared by the connections of one kind of one probe.
///
/// **Cost**: nothing until something happens; at most an entry per kind and reason, both closed sets.
#[derive(Debug, Default)]
pub(super) struct EventLog(Mutex<BTreeMap<ConnectionEvent, u64>>);

impl EventLog {
    /// Counts one.
    pub(super) fn note(&self, event: ConnectionEvent) {
        *self.counts().entry(event).or_default() += 1;
    }

    /// What was counted since the last call, which is forgotten.
    pub(super) fn take(&self) -> Vec<(ConnectionEvent, u64)> {
        std::mem::take(&mut *self.counts()).into_iter().collect()
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<ConnectionEvent, u64>> {
        // A poisoned lock only means that a thread panicked between two additions.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
