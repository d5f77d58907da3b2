//! Request out to first answer in.

use super::kernel::{BOUNDS, FORWARDER, PEER, Shown, durations};
use super::{Kind, Series};
use insight_common::kernel::layout::Distribution;

/// On connected sockets, clean exchanges only.
pub const RESPONSE: Series = Series {
    name: "insight_socket_response_seconds",
    help: "From request bytes out to the first answer bytes in on connected sockets, in seconds; clean exchanges only.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[FORWARDER, PEER],
    bound: "forwarders and peer groups (255)",
};

/// This file's families.
pub const SERIES: &[Series] = &[RESPONSE];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &[durations(Distribution::Response, &RESPONSE, &[])];
