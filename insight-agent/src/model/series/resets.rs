//! Connections that were reset.

use super::kernel::{FORWARDER, PEER, Shown, events};
use super::{Kind, Series, closed};
use insight_common::kernel::layout::Counter;

/// Resets, by who sent them.
pub const RESETS: Series = Series {
    name: "insight_tcp_resets_total",
    help: "Resets on TCP connections: received from the peer, or sent to it.",
    kind: Kind::Counter,
    labels: &[FORWARDER, PEER, closed("direction", &["received", "sent"])],
    bound: "forwarders and peer groups (255) x directions (2)",
};

/// This file's families.
pub const SERIES: &[Series] = &[RESETS];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &[
    events(Counter::ResetsReceived, &RESETS, &[("direction", "received")]),
    events(Counter::ResetsSent, &RESETS, &[("direction", "sent")]),
];
