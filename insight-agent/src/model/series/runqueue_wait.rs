//! How long a forwarder's threads wait for a CPU.

use super::kernel::{BOUNDS, FORWARDER, Shown, durations};
use super::{Kind, Series};
use insight_common::kernel::layout::Distribution;

/// Runnable to running.
pub const RUNQUEUE_WAIT: Series = Series {
    name: "insight_runqueue_wait_seconds",
    help: "How long threads of forwarders were runnable before they got a CPU, throttling included, in seconds.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[FORWARDER],
    bound: "forwarders (9)",
};

/// This file's families.
pub const SERIES: &[Series] = &[RUNQUEUE_WAIT];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &[durations(Distribution::RunqueueWait, &RUNQUEUE_WAIT, &[])];
