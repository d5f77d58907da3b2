//! Series of link probes: round trips to the next hop that no request takes part in.

use super::{Kind, Label, Series, closed, configured};

const FROM: Label = configured("from", "the link probes' near ends");
const TO: Label = configured("to", "the link probes' far ends");

/// Names of a link's rulers: who answers. `handshake` is the next hop's kernel, `ping` its event loop.
pub const LINK_RULERS: [&str; 2] = ["handshake", "ping"];

/// Bucket bounds of round trips, in seconds: decimal like the probes' latencies, but 1-1.5-2-3-5-7
/// a decade all the way from 20 µs (two hosts in one rack) to 1 s, because a link may be as short as
/// that. Above it stand the steps of a lost SYN (1 s, 3 s) and the default deadline.
pub const LINK_BOUNDS: &[f64] = &[
    0.00002, 0.00003, 0.00005, 0.00007, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.0007, 0.001, 0.0015,
    0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0,
    5.0,
];

/// The full distribution of each ruler.
pub const RTT: Series = Series {
    name: "insight_link_rtt_seconds",
    help: "Round trips of link probes to the next hop, in seconds: handshake is answered by its kernel, ping by its event loop. Failures and voided samples never enter.",
    kind: Kind::Histogram(LINK_BOUNDS),
    labels: &[FROM, TO, closed("ruler", &LINK_RULERS)],
    bound: "link probes x rulers (2; without PINGs 1)",
};

/// The link itself, without what queues on it.
pub const FLOOR: Series = Series {
    name: "insight_link_rtt_floor_seconds",
    help: "Shortest round trip of a link probe in the last complete window, in seconds, by ruler. Absent without a sample.",
    kind: Kind::Gauge,
    labels: &[FROM, TO, closed("ruler", &LINK_RULERS)],
    bound: "link probes x rulers (2; without PINGs 1)",
};

/// This file's families.
pub const SERIES: &[Series] = &[RTT, FLOOR];
