//! Series of the services behind the probes: what they say of themselves in trailers that any gRPC
//! service can write.

use super::path::{SOURCE, TARGET};
use super::probe::{CONNECTION, PROBE};
use super::{Kind, Series, closed, configured};
use crate::model::hop::ServiceLoad;

/// Names of the two times in `grpc-server-stats-bin`.
pub const TIMES: [&str; 2] = ["server", "load_balancer"];

/// What a service's gRPC library measured.
pub const TIME: Series = Series {
    name: "insight_probe_service_seconds",
    help: "Time that the service had the probes' calls (server), and that a load balancer before it had them, as grpc-server-stats-bin says, in seconds, mean of the last complete window. Absent when no answer said it.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, PROBE, CONNECTION, closed("figure", &TIMES)],
    bound: "probes but link ones x connections (2) x figures (2)",
};

/// Shares of a load report.
pub const LOAD_RATIO: Series = Series {
    name: "insight_probe_service_load_ratio",
    help: "Load of the service by its own ORCA reports, as a share, mean of the last complete window; above 1 beyond what the service calls its limit. Absent when no answer said it.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, PROBE, CONNECTION, closed("kind", &ServiceLoad::RATIOS)],
    bound: "probes but link ones x connections (2) x kinds (3)",
};

/// Rates of a load report.
pub const LOAD_RATE: Series = Series {
    name: "insight_probe_service_load_per_second",
    help: "Requests that the service serves and errors that it answers with, per second, by its own ORCA reports, mean of the last complete window. Absent when no answer said it.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, PROBE, CONNECTION, closed("kind", &ServiceLoad::RATES)],
    bound: "probes but link ones x connections (2) x kinds (2)",
};

/// Whatever else a load report names.
pub const LOAD_METRIC: Series = Series {
    name: "insight_probe_service_load_metric",
    help: "Metrics of the service's ORCA reports that probe.load_metrics lists, in their own units, mean of the last complete window. Absent when no answer said it.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, PROBE, CONNECTION, configured("metric", "the probes' load_metrics")],
    bound: "probes but link ones x connections (2) x listed metrics (8)",
};

/// This file's families.
pub const SERIES: &[Series] = &[TIME, LOAD_RATIO, LOAD_RATE, LOAD_METRIC];
