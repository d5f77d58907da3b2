//! Request in to first answer out.

use super::kernel::{BOUNDS, FORWARDER, PEER, Shown, durations};
use super::{Kind, Series};
use insight_common::kernel::layout::Distribution;

/// On accepted sockets, clean exchanges only.
pub const TURNAROUND: Series = Series {
    name: "insight_socket_turnaround_seconds",
    help: "From request bytes in to the first answer bytes out on accepted sockets, in seconds; clean exchanges only.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[FORWARDER, PEER],
    bound: "forwarders and peer groups (255)",
};

/// This file's families.
pub const SERIES: &[Series] = &[TURNAROUND];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &[durations(Distribution::Turnaround, &TURNAROUND, &[])];
