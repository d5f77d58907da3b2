//! A full send buffer to the next write that fits.

use super::kernel::{BOUNDS, FORWARDER, ROLE, Shown, durations};
use super::{Kind, Series};
use insight_common::kernel::layout::Distribution;

/// From a write that did not fit to the next one that did.
pub const SEND_BLOCKED: Series = Series {
    name: "insight_socket_send_blocked_seconds",
    help: "From a write that a full send buffer cut short to the next one that fitted, in seconds.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[FORWARDER, ROLE],
    bound: "forwarders (9) x roles (2)",
};

/// This file's families.
pub const SERIES: &[Series] = &[SEND_BLOCKED];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &[
    durations(Distribution::SendBlockedConnected, &SEND_BLOCKED, &[("role", "connected")]),
    durations(Distribution::SendBlockedAccepted, &SEND_BLOCKED, &[("role", "accepted")]),
];
