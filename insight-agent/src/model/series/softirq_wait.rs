//! Deferred interrupt work.

use super::kernel::{BOUNDS, Shown, durations, events};
use super::{Kind, Series, closed};
use insight_common::kernel::layout::{Counter, Distribution};
use insight_common::kernel::softirq::Vector;

/// The vectors' names.
const VECTORS: [&str; 5] = [
    Vector::Timer.name(),
    Vector::NetTx.name(),
    Vector::NetRx.name(),
    Vector::Sched.name(),
    Vector::Rcu.name(),
];

/// Raised to running.
pub const SOFTIRQ_WAIT: Series = Series {
    name: "insight_softirq_wait_seconds",
    help: "From raising a softirq to running it, by vector, in seconds. Of the whole host.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[closed("vector", &VECTORS)],
    bound: "vectors (5)",
};

/// Polls that left packets for the next one.
pub const NAPI_EXHAUSTED: Series = Series {
    name: "insight_napi_exhausted_total",
    help: "Polls of network devices that used their whole budget up, so that packets had to wait for the next one.",
    kind: Kind::Counter,
    labels: &[],
    bound: "1",
};

/// This file's families.
pub const SERIES: &[Series] = &[SOFTIRQ_WAIT, NAPI_EXHAUSTED];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &[
    durations(Distribution::SoftirqTimer, &SOFTIRQ_WAIT, &[("vector", VECTORS[0])]),
    durations(Distribution::SoftirqNetTx, &SOFTIRQ_WAIT, &[("vector", VECTORS[1])]),
    durations(Distribution::SoftirqNetRx, &SOFTIRQ_WAIT, &[("vector", VECTORS[2])]),
    durations(Distribution::SoftirqSched, &SOFTIRQ_WAIT, &[("vector", VECTORS[3])]),
    durations(Distribution::SoftirqRcu, &SOFTIRQ_WAIT, &[("vector", VECTORS[4])]),
    events(Counter::NapiExhausted, &NAPI_EXHAUSTED, &[]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::series::kernel::Figure;

    #[test]
    fn each_vectors_waits_go_by_its_own_name() {
        for (vector, shown) in Vector::ALL.into_iter().zip(SHOWN) {
            assert_eq!(shown.figure, Figure::Durations(vector.distribution()));
            assert_eq!(shown.labels, [("vector", vector.name())]);
        }
    }
}
