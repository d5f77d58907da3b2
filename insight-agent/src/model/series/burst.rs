//! Series of bursts: what a probe found when it looked closer.

use super::path::{SOURCE, TARGET};
use super::probe::PROBE;
use super::{Kind, Series, closed};
use crate::model::burst::{Burst, BurstCause};

/// How often something had become worse.
pub const BURSTS: Series = Series {
    name: "insight_probe_bursts_total",
    help: "Closer looks that were taken because a probe had become worse.",
    kind: Kind::Counter,
    labels: &[SOURCE, TARGET, PROBE, closed("cause", &BurstCause::NAMES)],
    bound: "probes x causes (2)",
};

/// How their samples ended.
pub const SAMPLES: Series = Series {
    name: "insight_probe_burst_samples_total",
    help: "Samples of closer looks, which are in no other family.",
    kind: Kind::Counter,
    labels: &[SOURCE, TARGET, PROBE, closed("outcome", &Burst::OUTCOMES)],
    bound: "probes x outcomes (3)",
};

/// How long their good samples took.
pub const DURATION: Series = Series {
    name: "insight_probe_burst_duration_seconds",
    help: "Latency of the good samples of closer looks, in seconds: sum and count, for means.",
    kind: Kind::Summary,
    labels: &[SOURCE, TARGET, PROBE],
    bound: "probes",
};

/// This file's families.
pub const SERIES: &[Series] = &[BURSTS, SAMPLES, DURATION];
