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

    /// [`min_median_max`] of the good ones.
    pub fn figures(&self) -> Option<[Duration; 3]> {
        min_median_max(&self.good)
    }
}

/// Minimum, median (the lower of two) and maximum of what is in rising order. **None** of nothing.
pub fn min_median_max(rising: &[Duration]) -> Option<[Duration; 3]> {
    let median = *rising.get(rising.len().checked_sub(1)? / 2)?;
    Some([*rising.first()?, median, *rising.last()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_median_is_a_reading_between_minimum_and_maximum(read in prop::collection::vec(0_u64..1 << 40, 0..50)) {
            let mut rising: Vec<_> = read.into_iter().map(Duration::from_nanos).collect();
            rising.sort_unstable();
            match min_median_max(&rising) {
                None => prop_assert!(rising.is_empty()),
                Some([min, median, max]) => {
                    prop_assert!(min <= median && median <= max && rising.contains(&median));
                    let below = rising.iter().filter(|figure| **figure < median).count();
                    let above = rising.iter().filter(|figure| **figure > median).count();
                    prop_assert!(below <= rising.len() / 2 && above <= rising.len() / 2);
                }
            }
        }
    }
}
