//! Series of the host: what did its last reading give?
//!
//! A scrape shows the last snapshot as it is. One that is too old is not shown: whoever read the
//! host is dead, and a flat line would look like an idle host.

mod forwarders;
mod node;

use super::registry::{Collector, Family};
use crate::model::host::HostSnapshot;
use crate::model::series::{Series, host};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The last snapshot.
#[derive(Default)]
pub(super) struct Host {
    shown: Mutex<Option<Arc<HostSnapshot>>>,
}

/// What was lost between two snapshots.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// Files that made no sense.
    pub(super) unparsed: u64,
    /// Processes and threads beyond the bounds.
    pub(super) capped: u64,
}

impl Host {
    /// Shows `snapshot` in place of the last one.
    pub(super) fn show(&self, snapshot: Arc<HostSnapshot>) -> Lost {
        let (unparsed, capped) = (snapshot.unparsed, snapshot.capped);
        let last = self.shown.lock().unwrap_or_else(PoisonError::into_inner).replace(snapshot);
        // A reader that was made anew counts from 0 again.
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Lost {
            unparsed: since(unparsed, last.as_ref().map_or(0, |last| last.unparsed)),
            capped: since(capped, last.as_ref().map_or(0, |last| last.capped)),
        }
    }

    fn families(&self, now: Instant) -> Vec<Family> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(snapshot) = shown.filter(|shown| shown.is_fresh(now)) else { return Vec::new() };
        let mut families = forwarders::families(&snapshot.forwarders);
        if let Some(node) = &snapshot.node {
            families.extend(node::families(node, snapshot.cpus.as_ref()));
        }
        families
    }
}

/// The registry's handle on [`Host`].
pub(super) struct HostCollector(pub(super) Arc<Host>);

impl Collector for HostCollector {
    fn rows(&self) -> Vec<&'static Series> {
        host::ALL.iter().copied().flatten().collect()
    }

    fn collect(&self) -> Vec<Family> {
        self.0.families(Instant::now())
    }
}
