//! How far the forwarders' control groups hold them back.

use super::super::{Kind, Series};
use super::forwarder::FORWARDER;

/// Periods.
pub const PERIODS: Series = Series {
    name: "insight_cgroup_cpu_periods_total",
    help: "Enforcement periods of a forwarder's CPU quota that have passed.",
    kind: Kind::Counter,
    labels: &[FORWARDER],
    bound: "forwarders (8)",
};

/// Throttled periods.
pub const THROTTLED_PERIODS: Series = Series {
    name: "insight_cgroup_cpu_throttled_periods_total",
    help: "Enforcement periods in which a forwarder used its CPU quota up.",
    kind: Kind::Counter,
    labels: &[FORWARDER],
    bound: "forwarders (8)",
};

/// Throttled time.
pub const THROTTLED_SECONDS: Series = Series {
    name: "insight_cgroup_cpu_throttled_seconds_total",
    help: "Time that a forwarder was held back by its CPU quota, in seconds, added up over CPUs.",
    kind: Kind::Counter,
    labels: &[FORWARDER],
    bound: "forwarders (8)",
};

/// The quota.
pub const QUOTA: Series = Series {
    name: "insight_cgroup_cpu_quota_cores",
    help: "CPU quota of a forwarder, in CPUs; absent without a limit.",
    kind: Kind::Gauge,
    labels: &[FORWARDER],
    bound: "forwarders (8)",
};

/// This file's families.
pub const SERIES: &[Series] = &[PERIODS, THROTTLED_PERIODS, THROTTLED_SECONDS, QUOTA];
