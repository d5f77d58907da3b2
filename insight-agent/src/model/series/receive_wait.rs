//! How long data waits in a socket.

use super::kernel::{BOUNDS, FORWARDER, ROLE, Shown, durations};
use super::{Kind, Series};
use insight_common::kernel::layout::Distribution;

/// Data ready to application read.
pub const RECEIVE_WAIT: Series = Series {
    name: "insight_socket_receive_wait_seconds",
    help: "How long received data waited until the application read it, in seconds. \
           With forwarders configured: reads by forwarders only.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[FORWARDER, ROLE],
    bound: "forwarders (9) x roles (2)",
};

/// This file's families.
pub const SERIES: &[Series] = &[RECEIVE_WAIT];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &[
    durations(Distribution::ReceiveWaitConnected, &RECEIVE_WAIT, &[("role", "connected")]),
    durations(Distribution::ReceiveWaitAccepted, &RECEIVE_WAIT, &[("role", "accepted")]),
];
