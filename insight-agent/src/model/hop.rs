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
}

impl HopSource {
    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InsightHop => "x-insight-hop",
            Self::ServerTiming => "server-timing",
            Self::EnvoyUpstream => "x-envoy-upstream-service-time",
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

/// Everything the hops of one response said, and what could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HopEvidence {
    /// In path order: the hop nearest to the prober first.
    pub hops: Vec<HopTiming>,
    /// Values (or parts of one) that no parser understood, per source.
    pub malformed: Vec<(HopSource, u32)>,
    /// Values left out because a cap on count or length was reached, per source.
    pub capped: Vec<(HopSource, u32)>,
}
