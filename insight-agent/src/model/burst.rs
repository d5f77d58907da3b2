//! A closer look: some samples more, taken at once because something had become worse.

use super::sample::{Outcome, ProbeSample};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What had become worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BurstCause {
    /// A sample failed after good ones.
    Failure,
    /// A sample took much longer than those before.
    Latency,
}

impl BurstCause {
    /// The names: the closed set of a `cause` label.
    pub const NAMES: [&'static str; 2] = ["failure", "latency"];

    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// What a burst found. Its samples are in no other figure: a distribution that is sampled more often when
/// it is bad would look worse than it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burst {
    /// Why it was made.
    pub cause: BurstCause,
    /// The median of the good samples before.
    pub before: Duration,
    /// When it began.
    pub began: Instant,
    /// Latencies of good answers, in rising order once it has ended.
    pub good: Vec<Duration>,
    /// How many failed, by class.
    pub failed: BTreeMap<&'static str, u64>,
    /// Samples that this prober itself spoilt.
    pub voided: u64,
}

impl Burst {
    /// How a burst's sample may end: the closed set of an `outcome` label.
    pub const OUTCOMES: [&'static str; 3] = ["good", "failed", "voided"];

    /// Nothing found yet.
    pub fn new(cause: BurstCause, before: Duration, began: Instant) -> Self {
        Self { cause, before, began, good: Vec::new(), failed: BTreeMap::new(), voided: 0 }
    }

    /// Adds a sample.
    pub fn add(&mut self, sample: &ProbeSample) {
        match (&sample.outcome, sample.total()) {
            (Outcome::Failed(failure), _) => *self.failed.entry(failure.class.as_str()).or_default() += 1,
            (Outcome::Ok | Outcome::Late, Some(total)) => {
                let at = self.good.partition_point(|other| *other <= total);
                self.good.insert(at, total);
            }
            _ => self.voided += 1,
        }
    }

    /// How many ended in each way, in the order of [`Self::OUTCOMES`].
    pub fn counts(&self) -> [u64; 3] {
        [self.good.len() as u64, self.failed.values().sum(), self.voided]
    }

    /// Minimum, median (the lower of two) and maximum of the good ones. **None**: there is none.
    pub fn figures(&self) -> Option<[Duration; 3]> {
        let median = *self.good.get(self.good.len().checked_sub(1)? / 2)?;
        Some([*self.good.first()?, median, *self.good.last()?])
    }
}
