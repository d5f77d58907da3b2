//! What one hop said about one request: its downstream and upstream time.

use super::figure::Figure;
use serde::{Deserialize, Serialize};

/// Where a hop's figures were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HopSource {
    /// Response header or trailer `x-insight-hop`, written by the hop itself.
    InsightHop,
    /// Response header `Server-Timing`, its metric name mapped to a hop by configuration.
    ServerTiming,
    /// Response header `x-envoy-upstream-service-time`, its Envoy named by configuration.
    EnvoyUpstream,
    /// Response headers `X-Kong-*-Latency`, their Kong named by configuration.
    Kong,
    /// Trailer `grpc-server-stats-bin`, written by the service's gRPC library.
    ServerStats,
    /// Trailers `endpoint-load-metrics` and `endpoint-load-metrics-bin`: the service's load, no time.
    Orca,
}

impl HopSource {
    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InsightHop => "x-insight-hop",
            Self::ServerTiming => "server-timing",
            Self::EnvoyUpstream => "x-envoy-upstream-service-time",
            Self::Kong => "x-kong-latency",
            Self::ServerStats => "grpc-server-stats-bin",
            Self::Orca => "endpoint-load-metrics",
        }
    }
}

/// One hop's own figures about one request, each taken on the hop's clock.
///
/// **None**: the hop did not tell this figure, or told it in a form that could not be read
/// (which was counted); it is never 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HopTiming {
    /// The hop's name as it wrote it (or as configuration maps it).
    pub name: String,
    /// D: from the request's arrival at the hop to the response's departure.
    pub downstream: Option<Figure>,
    /// U: from the hop's forwarding of the request to the arrival of the response.
    pub upstream: Option<Figure>,
    /// The part of `upstream` that was spent on opening an upstream connection.
    pub connect: Option<Figure>,
    /// Where the figures were found.
    pub source: HopSource,
}

/// What the service's gRPC library said in trailers about the time it had the request. An Insight
/// receiver's own figures are not here: see [`super::sample::ServiceTiming`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// D of the service, up to the end of the call. **None**: not told.
    pub server: Option<Figure>,
    /// How long a load balancer in front of the service had the request. **None**: not told. It is
    /// evidence beside the ledger: it does not tell which hop it is.
    pub load_balancer: Option<Figure>,
}

/// How loaded the service said it was: no duration, and no entry of a ledger.
///
/// **None**: not told. A binary report cannot tell 0 from that.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceLoad {
    /// CPU use as a share of what the service may have; above 1 beyond its soft limit.
    pub cpu: Option<f64>,
    /// Memory use as a share of what the service may have.
    pub memory: Option<f64>,
    /// The share that the application itself calls its load; above 1 beyond its soft limit.
    pub application: Option<f64>,
    /// Requests per second that the endpoint serves.
    pub requests_per_second: Option<f64>,
    /// Errors per second that the endpoint answers with.
    pub errors_per_second: Option<f64>,
    /// The other metrics that configuration lists, by their configured name, in its order.
    pub named: Vec<(String, f64)>,
}

impl ServiceLoad {
    /// Names of the shares: the closed set of a `kind` label, in the order of [`Self::ratios`].
    pub const RATIOS: [&'static str; 3] = ["cpu", "memory", "application"];
    /// Names of the rates: the closed set of a `kind` label, in the order of [`Self::rates`].
    pub const RATES: [&'static str; 2] = ["requests", "errors"];

    /// The shares, in the order of [`Self::RATIOS`].
    pub fn ratios(&self) -> [Option<f64>; 3] {
        [self.cpu, self.memory, self.application]
    }

    /// The rates per second, in the order of [`Self::RATES`].
    pub fn rates(&self) -> [Option<f64>; 2] {
        [self.requests_per_second, self.errors_per_second]
    }
}

/// Everything the hops of one response said, and what could not be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HopEvidence {
    /// In path order: the hop nearest to the prober first.
    pub hops: Vec<HopTiming>,
    /// What the service's gRPC library said about the time it took.
    pub stats: ServerStats,
    /// How loaded the service said it was.
    pub load: ServiceLoad,
    /// Values (or parts of one) that no parser understood, per source.
    pub malformed: Vec<(HopSource, u32)>,
    /// Values left out because a cap on count or length was reached, per source.
    pub capped: Vec<(HopSource, u32)>,
}
