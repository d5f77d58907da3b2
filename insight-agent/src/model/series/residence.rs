//! How long a forwarder holds bytes.

use super::kernel::{BOUNDS, PEER};
use super::{Kind, Series, closed};

/// Which way bytes went: to the upstream side, or back.
pub const DIRECTIONS: [&str; 2] = ["up", "down"];

/// Read on one side to written on the other by one thread in one turn.
pub const RESIDENCE: Series = Series {
    name: "insight_forward_residence_seconds",
    help: "From a read on one side to the write on the other by the same thread of a forwarder, in seconds.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[closed("direction", &DIRECTIONS), PEER],
    bound: "directions (2) x peer groups (64)",
};

/// This file's families.
pub const SERIES: &[Series] = &[RESIDENCE];
