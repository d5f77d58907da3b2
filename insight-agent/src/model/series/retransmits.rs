//! Segments sent once more, and recovery from loss.

use super::kernel::{BOUNDS, FORWARDER, PEER, Shown, durations, events};
use super::{Kind, Series, closed};
use insight_common::kernel::layout::{Counter, Distribution};

/// What a segment is sent once more for.
const KINDS: [&str; 5] = ["syn", "synack", "tlp", "fast", "rto"];

/// Segments sent once more.
pub const RETRANSMITS: Series = Series {
    name: "insight_tcp_retransmits_total",
    help: "Segments sent once more: while connecting (syn, synack), to provoke an acknowledgement (tlp), \
           because later ones arrived (fast), because the timer ran out (rto).",
    kind: Kind::Counter,
    labels: &[FORWARDER, PEER, closed("kind", &KINDS)],
    bound: "forwarders and peer groups (255) x kinds (5)",
};

/// From the first loss until all is acknowledged.
pub const RECOVERY: Series = Series {
    name: "insight_tcp_loss_recovery_seconds",
    help: "From the first loss until all that was under way is acknowledged, in seconds; rto: the timer ran out.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[FORWARDER, PEER, closed("kind", &["fast", "rto"])],
    bound: "forwarders and peer groups (255) x kinds (2)",
};

/// This file's families.
pub const SERIES: &[Series] = &[RETRANSMITS, RECOVERY];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &[
    durations(Distribution::RecoveryFast, &RECOVERY, &[("kind", "fast")]),
    durations(Distribution::RecoveryTimeout, &RECOVERY, &[("kind", "rto")]),
    events(Counter::RetransmitSyn, &RETRANSMITS, &[("kind", "syn")]),
    events(Counter::RetransmitSynack, &RETRANSMITS, &[("kind", "synack")]),
    events(Counter::RetransmitProbe, &RETRANSMITS, &[("kind", "tlp")]),
    events(Counter::RetransmitFast, &RETRANSMITS, &[("kind", "fast")]),
    events(Counter::RetransmitTimeout, &RETRANSMITS, &[("kind", "rto")]),
];
