//! What the demo reads of `/api/v1/status`.
//!
//! A client's own view of the JSON, not the agent's types: what is absent or null is `None` or
//! empty, what is unknown is ignored, so that the demo shows what an older or newer agent says.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// The answer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Who answers.
    #[serde(deserialize_with = "null_is_default")]
    pub agent: Agent,
    /// Pairs of regions.
    #[serde(deserialize_with = "null_is_default")]
    pub paths: Vec<Path>,
    /// Probes by connection kind.
    #[serde(deserialize_with = "null_is_default")]
    pub probes: Vec<Probe>,
    /// Measurements and their states.
    #[serde(deserialize_with = "null_is_default")]
    pub measurements: Vec<Measurement>,
}

/// The agent's clock and window.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Agent {
    /// Seconds since its start.
    pub uptime_seconds: Option<f64>,
    /// Length of its window.
    pub window_seconds: Option<f64>,
}

/// A pair of regions.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Path {
    /// Region that asks.
    pub source: Option<String>,
    /// Region that is asked.
    pub target: Option<String>,
    /// Median of the last complete window.
    pub cross_region_latency_ms: Option<f64>,
    /// Ledgers of the last complete window.
    #[serde(deserialize_with = "null_is_default")]
    pub ledgers: Vec<Ledger>,
}

/// Means over one window.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// `probe` or `window`.
    pub kind: Option<String>,
    /// The probe it is about.
    pub probe: Option<String>,
    /// Mean end-to-end latency.
    pub end_to_end_seconds: Option<f64>,
    /// Requests in the window.
    #[serde(deserialize_with = "null_is_default")]
    pub count: u64,
    /// Age of the window's end when the agent answered.
    pub age_seconds: Option<f64>,
    /// In path order.
    #[serde(deserialize_with = "null_is_default")]
    pub segments: Vec<Segment>,
    /// End to end minus the known segments.
    pub unexplained_seconds: Option<f64>,
}

/// One entry of a ledger.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Segment {
    /// `link:A>B`, `hop:NAME`, `service`, `transfer`.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// Window mean.
    pub seconds: Option<f64>,
    /// How far it may be off.
    pub bound_seconds: Option<f64>,
    /// The evidence.
    pub source: Option<String>,
    /// Whose report it is from. **None**: nobody's, or unknown.
    pub node: Option<String>,
    /// Age of the figure when the agent answered. **None**: that of its ledger.
    pub age_seconds: Option<f64>,
    /// `probe` or `all`.
    pub population: Option<String>,
    /// Requests with evidence.
    #[serde(deserialize_with = "null_is_default")]
    pub count: u64,
    /// Silent hops it covers too.
    #[serde(deserialize_with = "null_is_default")]
    pub merged: Vec<String>,
    /// Requests whose figure was negative beyond its bound.
    #[serde(deserialize_with = "null_is_default")]
    pub inconsistent: u64,
    /// What the hop's forwarders had of their CPUs. **None**: no hop, or it does not tell.
    pub host: Option<HopHost>,
}

/// What a hop's forwarders had of their CPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct HopHost {
    /// Busy share of the CPUs that they may run on.
    pub busy_ratio: Option<f64>,
    /// Seconds per second for which they were held back.
    pub throttled_ratio: Option<f64>,
    /// Seconds per second for which their threads waited for a CPU.
    pub run_delay_ratio: Option<f64>,
}

/// A probe on one kind of connection.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// Configured name.
    #[serde(deserialize_with = "null_is_default")]
    pub probe: String,
    /// `black-box` or `white-box`.
    pub mode: Option<String>,
    /// `reused` or `fresh`.
    pub connection: Option<String>,
    /// Samples that ended.
    pub sent: Option<u64>,
    /// Good answers.
    pub ok: Option<u64>,
    /// Failures by class.
    #[serde(deserialize_with = "null_is_default")]
    pub failures: BTreeMap<String, u64>,
    /// The last failure.
    pub last_failure: Option<LastFailure>,
    /// Since the agent's start.
    pub latency: Option<Latency>,
}

/// The last failure.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LastFailure {
    /// What was attempted, where, what was found.
    pub detail: Option<String>,
    /// How long ago.
    pub age_seconds: Option<f64>,
}

/// A distribution.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Mean.
    pub mean_seconds: Option<f64>,
    /// Median.
    pub p50_seconds: Option<f64>,
    /// 99th percentile.
    pub p99_seconds: Option<f64>,
}

/// A measurement's state.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Measurement {
    /// Where.
    #[serde(deserialize_with = "null_is_default")]
    pub node: String,
    /// What.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// `active`, `disabled`, `failed`.
    #[serde(deserialize_with = "null_is_default")]
    pub state: String,
    /// Why not active.
    #[serde(deserialize_with = "null_is_default")]
    pub reason: String,
}

impl Ledger {
    /// Whether it is about what the nodes report, and not about the probe's own requests.
    pub fn is_window(&self) -> bool {
        self.kind.as_deref() == Some("window")
    }

    /// Age of the window's end; where only the entries tell one, that of the youngest.
    pub fn age(&self) -> Option<f64> {
        let youngest = || self.segments.iter().filter_map(|s| s.age_seconds).reduce(f64::min);
        self.age_seconds.or_else(youngest)
    }
}

impl Segment {
    /// Its name, with the silent hops that it covers too.
    pub fn name(&self) -> String {
        match self.merged.is_empty() {
            true => self.name.clone(),
            false => format!("{} (with {})", self.name, self.merged.join(", ")),
        }
    }
}

impl Status {
    /// The probe whose figures the demo is about: white-box on a reused connection, `sg-insight`
    /// before any other. **None**: the agent runs no such probe.
    pub fn main_probe(&self) -> Option<&Probe> {
        let fits = |probe: &&Probe| {
            probe.mode.as_deref() == Some("white-box") && probe.connection.as_deref() == Some("reused")
        };
        let named = self.probes.iter().filter(fits).find(|probe| probe.probe == super::MAIN_PROBE);
        named.or_else(|| self.probes.iter().find(fits))
    }
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_object_and_nulls_are_no_error_and_no_zero() {
        let status: Status = serde_json::from_str("{}").unwrap();
        assert!(status.main_probe().is_none());
        let text = r#"{"agent":null,"paths":[{"ledgers":null}],"probes":[{"probe":"p","sent":null,"failures":null}],
                      "later":1}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(status.probes[0].sent, None);
        assert_eq!(status.agent.uptime_seconds, None);
    }

    #[test]
    fn the_reused_white_box_probe_is_the_main_one() {
        let text = r#"{"probes":[
            {"probe":"other","mode":"white-box","connection":"reused"},
            {"probe":"sg-insight","mode":"white-box","connection":"fresh"},
            {"probe":"sg-insight","mode":"white-box","connection":"reused","sent":7}]}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(status.main_probe().unwrap().sent, Some(7));
    }
}
