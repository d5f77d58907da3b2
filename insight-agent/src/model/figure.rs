//! A duration with the bounds of its resolution: what does a printed "12 ms" really say?

use serde::{Deserialize, Serialize};

/// A measured duration, or a difference of two, with its quantisation bound.
///
/// **Unit**: nanoseconds. **Shape**: the true value lies in `[ns − below_ns, ns + above_ns]`.
/// A difference of two figures may be negative; it is kept as it is (see [`Figure::is_inconsistent`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// The value as it was read.
    pub ns: i64,
    /// How far below `ns` the true value may lie.
    pub below_ns: u64,
    /// How far above `ns` the true value may lie.
    pub above_ns: u64,
}

impl Figure {
    /// A figure whose resolution is far below anything a ledger shows (a monotonic clock in ns).
    pub const fn exact(ns: i64) -> Self {
        Self { ns, below_ns: 0, above_ns: 0 }
    }

    /// The exact figure of a duration. Saturates at about 292 years.
    pub fn from_duration(duration: std::time::Duration) -> Self {
        Self::exact(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }

    /// `self − other`; the bounds of both add up.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            ns: self.ns.saturating_sub(other.ns),
            below_ns: self.below_ns.saturating_add(other.above_ns),
            above_ns: self.above_ns.saturating_add(other.below_ns),
        }
    }

    /// `self + other`; the bounds of both add up.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            ns: self.ns.saturating_add(other.ns),
            below_ns: self.below_ns.saturating_add(other.below_ns),
            above_ns: self.above_ns.saturating_add(other.above_ns),
        }
    }

    /// True when the value is negative by more than its resolution explains: a duration that
    /// cannot be, so one of the figures it was made of is wrong.
    pub fn is_inconsistent(self) -> bool {
        self.ns.saturating_add(i64::try_from(self.above_ns).unwrap_or(i64::MAX)) < 0
    }

    /// The value in seconds.
    pub fn seconds(self) -> f64 {
        self.ns as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_adds_both_bounds() {
        let d = Figure { ns: 10, below_ns: 1, above_ns: 2 };
        let u = Figure { ns: 7, below_ns: 3, above_ns: 4 };
        assert_eq!(d.minus(u), Figure { ns: 3, below_ns: 5, above_ns: 5 });
        assert_eq!(d.plus(u), Figure { ns: 17, below_ns: 4, above_ns: 6 });
    }

    #[test]
    fn negative_within_the_bound_is_consistent() {
        assert!(!Figure { ns: -1, below_ns: 0, above_ns: 1 }.is_inconsistent());
        assert!(Figure { ns: -2, below_ns: 0, above_ns: 1 }.is_inconsistent());
    }
}
