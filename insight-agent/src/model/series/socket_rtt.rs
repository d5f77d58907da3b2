//! Round trips of the forwarder's sockets.

use super::kernel::{BOUNDS, FORWARDER, PEER, ROLE, Shown, durations};
use super::{Kind, Series};
use insight_common::kernel::layout::Distribution;

/// Every sample of the kernel's acknowledgement clock.
pub const SOCKET_RTT: Series = Series {
    name: "insight_socket_rtt_seconds",
    help: "Round trips seen by TCP, in seconds; with the think time of peers that delay their acknowledgements.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[FORWARDER, PEER, ROLE],
    bound: "forwarders and peer groups (255) x roles (2)",
};

/// The smallest clean sample of the last seconds.
pub const SOCKET_RTT_FLOOR: Series = Series {
    name: "insight_socket_rtt_floor_seconds",
    help: "Smallest clean round trip of the last 8 seconds (handshakes, and samples with more in flight), in seconds.",
    kind: Kind::Gauge,
    labels: &[FORWARDER, PEER, ROLE],
    bound: "forwarders and peer groups (255) x roles (2)",
};

/// This file's families.
pub const SERIES: &[Series] = &[SOCKET_RTT, SOCKET_RTT_FLOOR];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &[
    durations(Distribution::RttConnected, &SOCKET_RTT, &[("role", "connected")]),
    durations(Distribution::RttAccepted, &SOCKET_RTT, &[("role", "accepted")]),
];
