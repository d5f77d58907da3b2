//! Queue discipline and driver.

use super::kernel::{BOUNDS, DEVICE, Shown, durations};
use super::{Kind, Series};
use insight_common::kernel::layout::Distribution;

/// Queued to handed to the driver.
pub const QDISC_WAIT: Series = Series {
    name: "insight_qdisc_wait_seconds",
    help: "How long packets waited in the queue discipline of a device before its driver got them, in seconds.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[DEVICE],
    bound: "configured devices (16)",
};

/// The driver's own time.
pub const DRIVER_XMIT: Series = Series {
    name: "insight_driver_xmit_seconds",
    help: "How long a device's driver took to accept a packet, in seconds. What is in the hardware's queue is not in it.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[DEVICE],
    bound: "configured devices (16)",
};

/// This file's families.
pub const SERIES: &[Series] = &[QDISC_WAIT, DRIVER_XMIT];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &[
    durations(Distribution::QdiscWait, &QDISC_WAIT, &[]),
    durations(Distribution::DriverXmit, &DRIVER_XMIT, &[]),
];
