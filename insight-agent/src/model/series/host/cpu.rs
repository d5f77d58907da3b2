//! What the CPUs spent their time on.

use super::super::{Kind, Series, closed};
use super::CPU;
use crate::model::host::CpuTimes;

/// The time of programs in guests, by their priority.
pub const GUEST_MODES: [&str; 2] = ["user", "nice"];

/// Time by mode.
pub const SECONDS: Series = Series {
    name: "node_cpu_seconds_total",
    help: "Time that a CPU spent in each mode, in seconds; guests are in user and nice.",
    kind: Kind::Counter,
    labels: &[CPU, closed("mode", &CpuTimes::MODES)],
    bound: "CPUs x modes (8)",
};

/// Time in guests.
pub const GUEST_SECONDS: Series = Series {
    name: "node_cpu_guest_seconds_total",
    help: "Time that a CPU spent in virtual machines, in seconds; also counted as user and nice.",
    kind: Kind::Counter,
    labels: &[CPU, closed("mode", &GUEST_MODES)],
    bound: "CPUs x modes (2)",
};

/// This file's families.
pub const SERIES: &[Series] = &[SECONDS, GUEST_SECONDS];
