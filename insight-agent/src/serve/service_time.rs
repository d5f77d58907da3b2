//! How long this receiver itself takes: the far end of every path, as a series of its report.

use crate::clock::{AgentClock, second};
use crate::model::report::Distribution;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The durations of all answered `Probe/Measure` since the start. Copies share them.
#[derive(Debug, Clone)]
pub struct ServiceTimes {
    clock: AgentClock,
    times: Arc<Mutex<Distribution>>,
}

impl ServiceTimes {
    /// None yet.
    pub fn new(clock: AgentClock) -> Self {
        Self { clock, times: Arc::default() }
    }

    /// Adds one that ends now.
    pub(super) fn record(&self, took: Duration) {
        let second = second(self.clock.uptime_at(Instant::now()));
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // Recording cannot panic halfway, so a poisoned lock holds whole figures.
        self.times.lock().unwrap_or_else(PoisonError::into_inner).record(ns, second);
    }

    /// All of them, as of now.
    pub fn all(&self) -> Distribution {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
