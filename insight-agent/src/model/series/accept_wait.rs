//! Established to first used, and the queue of listeners.

use super::kernel::{BOUNDS, FORWARDER, PEER, Shown, durations, events};
use super::{Kind, Series};
use insight_common::kernel::layout::{Counter, Distribution};

/// From established to the first read or write.
pub const ACCEPT_WAIT: Series = Series {
    name: "insight_tcp_accept_wait_seconds",
    help: "How long an accepted connection waited until the application first wrote, or read what had come, in seconds.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[FORWARDER, PEER],
    bound: "forwarders and peer groups (255)",
};

/// Connections that entered a listener's queue.
pub const QUEUED: Series = Series {
    name: "insight_listen_queued_total",
    help: "Connections that were queued to be accepted.",
    kind: Kind::Counter,
    labels: &[FORWARDER],
    bound: "forwarders (9)",
};

/// How long the queues were.
pub const BACKLOG: Series = Series {
    name: "insight_listen_backlog_total",
    help: "Sum, over connections that were queued, of how many then waited to be accepted: \
           divided by insight_listen_queued_total, the mean length of the queue that a connection finds.",
    kind: Kind::Counter,
    labels: &[FORWARDER],
    bound: "forwarders (9)",
};

/// Queues without room for another one.
pub const FULL: Series = Series {
    name: "insight_listen_full_total",
    help: "Connections that took a listener's last place: the next one is dropped unless one is accepted before.",
    kind: Kind::Counter,
    labels: &[FORWARDER],
    bound: "forwarders (9)",
};

/// This file's families.
pub const SERIES: &[Series] = &[ACCEPT_WAIT, QUEUED, BACKLOG, FULL];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &[
    durations(Distribution::AcceptWait, &ACCEPT_WAIT, &[]),
    events(Counter::ListenQueued, &QUEUED, &[]),
    events(Counter::ListenWaiting, &BACKLOG, &[]),
    events(Counter::ListenFull, &FULL, &[]),
];
