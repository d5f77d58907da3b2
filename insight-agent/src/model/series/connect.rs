//! Connecting, and why it fails.

use super::kernel::{BOUNDS, FORWARDER, PEER, Shown, durations, events};
use super::{Kind, Series, closed};
use insight_common::kernel::layout::{Counter, Distribution};

/// Connections that were established.
pub const CONNECT: Series = Series {
    name: "insight_tcp_connect_seconds",
    help: "How long connecting took, retries included, in seconds; connections that were established.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[FORWARDER, PEER],
    bound: "forwarders and peer groups (255)",
};

/// Why a connection was not established.
const REASONS: [&str; 5] = ["refused", "timed_out", "unreachable", "gave_up", "other"];

/// Connections that were not.
pub const FAILURES: Series = Series {
    name: "insight_tcp_connect_failures_total",
    help: "Connections that were not established; gave_up: the application closed them before.",
    kind: Kind::Counter,
    labels: &[FORWARDER, PEER, closed("reason", &REASONS)],
    bound: "forwarders and peer groups (255) x reasons (5)",
};

/// This file's families.
pub const SERIES: &[Series] = &[CONNECT, FAILURES];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &[
    durations(Distribution::Connect, &CONNECT, &[]),
    events(Counter::ConnectRefused, &FAILURES, &[("reason", "refused")]),
    events(Counter::ConnectTimedOut, &FAILURES, &[("reason", "timed_out")]),
    events(Counter::ConnectUnreachable, &FAILURES, &[("reason", "unreachable")]),
    events(Counter::ConnectGaveUp, &FAILURES, &[("reason", "gave_up")]),
    events(Counter::ConnectOther, &FAILURES, &[("reason", "other")]),
];
