//! What the agent says about itself and its paths: the JSON of `/api/v1/status`.
//!
//! Durations are seconds as floating point. A figure that is not known is `null`, never 0. No
//! secret and no payload is ever part of it.

use super::certificate::TlsFilesStatus;
use super::health::ServingState;
use super::ledger::{Evidence, HopHost, LedgerKind, Population};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Who answers.
    pub agent: AgentStatus,
    /// One entry per pair of regions that this agent probes.
    pub paths: Vec<PathStatus>,
    /// One entry per probe and connection kind.
    pub probes: Vec<ProbeStatus>,
    /// The forwarders on this agent's host, in the order of the configuration.
    #[serde(default)]
    pub forwarders: Vec<ForwarderStatus>,
    /// Every `[[discovery]]`, in the order of the configuration.
    #[serde(default)]
    pub discovery: Vec<DiscoveryStatus>,
    /// TLS files of probes and nodes, each set once however many use it.
    #[serde(default)]
    pub tls_files: Vec<TlsFilesStatus>,
    /// Every measurement, and why it is not active if it is not.
    pub measurements: Vec<MeasurementStatus>,
    /// Everything that was lost, by measurement and loss; zeros are left out.
    pub lost: Vec<LossStatus>,
}

/// Who answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentStatus {
    /// The configured or host name.
    pub name: String,
    /// The region it stands in.
    pub region: String,
    /// The program's version.
    pub version: String,
    /// How long it has been running.
    pub uptime_seconds: f64,
    /// Length of the aggregation window.
    pub window_seconds: f64,
    /// Addresses the listeners are bound to: `metrics`, `admin`, `grpc`.
    pub listeners: BTreeMap<String, String>,
}

/// One pair of regions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathStatus {
    /// Region that asks.
    pub source: String,
    /// Region that is asked.
    pub target: String,
    /// `cross_region_latency_ms`: median of the last complete window, in milliseconds.
    pub cross_region_latency_ms: Option<f64>,
    /// One ledger per white-box probe that carries this path.
    pub ledgers: Vec<LedgerStatus>,
}

/// Means over the last complete window of one of a probe's ledgers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerStatus {
    /// `probe`: from the probe's own requests; `window`: from what the agents on the nodes measured.
    pub kind: LedgerKind,
    /// The probe whose requests these are.
    pub probe: String,
    /// Mean of request + wait + response.
    pub end_to_end_seconds: Option<f64>,
    /// How many requests the means are of.
    pub count: u64,
    /// Requests left out because other hops spoke in them.
    pub other_shape: u64,
    /// Age of the window's end.
    pub age_seconds: f64,
    /// In path order.
    pub segments: Vec<SegmentStatus>,
    /// Mean of end to end minus the known segments.
    pub unexplained_seconds: Option<f64>,
    /// Mean rest of the telescoped sum.
    pub residual_seconds: Option<f64>,
}

/// One entry of a ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentStatus {
    /// `link:A>B`, `hop:NAME`, `service`, `transfer`.
    pub name: String,
    /// Window mean.
    pub seconds: Option<f64>,
    /// Mean of the bounds that the sources' resolution sets on one figure.
    pub bound_seconds: Option<f64>,
    /// What the figure rests on.
    pub source: Option<Evidence>,
    /// `probe`: the probe's own requests; `all`: everything that crossed the node or the link.
    /// `null` without a figure.
    pub population: Option<Population>,
    /// The node whose agent reported it; `null` where the prober found it out.
    #[serde(default)]
    pub node: Option<String>,
    /// Age of the evidence; without a figure, for how long the node beside it has been silent.
    /// `null`: it was never heard of.
    #[serde(default)]
    pub age_seconds: Option<f64>,
    /// How many requests, reads or round trips the figure is of.
    pub count: u64,
    /// Silent hops that this entry covers too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<String>,
    /// How many of `count` were negative beyond their bound.
    pub inconsistent: u64,
    /// What a hop's forwarders had of their CPUs; `null` where its agent does not tell, and of
    /// every other entry.
    #[serde(default)]
    pub host: Option<HopHost>,
}

/// A forwarder on this agent's host. `null` is everything that is not known: the host is not read, no
/// process is found, or, for the shares, it was not read twice yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ForwarderStatus {
    /// As configured.
    pub name: String,
    /// Ids of its processes, rising; empty if none is found.
    pub pids: Option<Vec<u32>>,
    /// Numbers of the CPUs that any of its threads may run on, rising.
    pub allowed_cpus: Option<Vec<u32>>,
    /// Busy share of exactly those CPUs between the last two readings, 0 to 1.
    pub busy_share: Option<f64>,
    /// Time for which its control groups were held back between them, per second; above 1 with
    /// several threads.
    pub throttled_share: Option<f64>,
    /// Time for which its threads could have run and had no CPU between them, per second; above 1
    /// with several threads.
    pub run_delay_share: Option<f64>,
    /// How many threads it has.
    pub threads: Option<u64>,
}

/// One probe on one kind of connection, since the agent's start and in the last window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// The configured name.
    pub probe: String,
    /// Region that asks.
    pub source: String,
    /// Region that is asked.
    pub target: String,
    /// `black-box`, `white-box` or `link`.
    pub mode: String,
    /// `reused` or `fresh`; of a link probe, `fresh` are its handshakes and `reused` its PINGs.
    pub connection: String,
    /// The next hop, as configured.
    pub address: String,
    /// Samples that ended, however.
    pub sent: u64,
    /// Samples with a good answer (late ones among them).
    pub ok: u64,
    /// Good answers after the deadline.
    pub late: u64,
    /// Answers, and deadlines that passed, not used because the prober itself was starved or stood still.
    pub voided: u64,
    /// Scheduled samples that were never started because too many were under way.
    pub skipped: u64,
    /// Failures by class.
    pub failures: BTreeMap<String, u64>,
    /// The last failure's text, with its age.
    pub last_failure: Option<LastFailure>,
    /// End-to-end latency since start (error of a quantile ≤ 0.8 %); `null` for a link probe,
    /// which makes no request.
    pub latency: Option<LatencyStatus>,
    /// Mean of each phase over the last complete window, in order of the phases.
    pub phases: Vec<PhaseStatus>,
    /// Round trips to the next hop over the last complete window; only those that were measured.
    #[serde(default)]
    pub rulers: Vec<RulerStatus>,
    /// Each of several reused connections, by its slot; empty where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<SlotStatus>,
    /// When the certificates of the probe's connections end; only those that are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateStatus>,
    /// Its streams of answers since the start; `null` where the method answers with one message.
    #[serde(default)]
    pub stream: Option<StreamStatus>,
    /// The last closer look; `null`: none was taken.
    #[serde(default)]
    pub burst: Option<BurstStatus>,
    /// What a health watch hears; `null` for any other probe, and before anything was heard.
    #[serde(default)]
    pub health: Option<HealthStatus>,
}

/// One of several reused connections, since the agent's start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotStatus {
    /// From 0.
    pub slot: u8,
    /// Samples that ended on it, however.
    pub sent: u64,
    /// Samples with a good answer.
    pub ok: u64,
    /// Samples without one.
    pub failed: u64,
    /// Connections that were opened; every one after the first is a reconnect.
    pub opened: u64,
    /// Mean latency; `null` without a measurement.
    pub mean_seconds: Option<f64>,
    /// The last failure's text, with its age.
    pub last_failure: Option<LastFailure>,
}

/// When the first certificate of a kind ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// `client`, `ca` or `server`.
    pub certificate: String,
    /// In seconds since 1970.
    pub expiry_seconds: i64,
}

/// Streams of answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamStatus {
    /// Messages that came.
    pub messages: u64,
    /// Of the last good answer, from the request to its first message; `null`: it had none.
    pub first_message_seconds: Option<f64>,
    /// Longest time between two messages of the last good answer; `null`: it had fewer than two.
    pub largest_gap_seconds: Option<f64>,
}

/// What a closer look found, which was taken because the probe had become worse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BurstStatus {
    /// `failure` or `latency`.
    pub cause: String,
    /// How long ago it began.
    pub age_seconds: f64,
    /// Median latency of the good samples before.
    pub before_seconds: f64,
    /// Good answers.
    pub good: u64,
    /// Samples without one.
    pub failed: u64,
    /// Samples that the prober itself spoilt.
    pub voided: u64,
    /// Minimum, median and maximum latency of the good answers; `null`: there was none.
    pub latency_seconds: Option<[f64; 3]>,
    /// How many failed, by class.
    pub failures: BTreeMap<String, u64>,
}

/// What a service says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HealthStatus {
    /// The state that was told last; `null` while the stream is broken.
    pub state: Option<ServingState>,
    /// How long ago it was told first, or the stream broke.
    pub age_seconds: f64,
    /// Changes of the state.
    pub changes: u64,
    /// Broken streams by failure class.
    pub breaks: BTreeMap<String, u64>,
    /// Why the last one broke; `null`: none did.
    pub last_break: Option<String>,
}

/// A failure's text and age.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastFailure {
    /// gRPC status name.
    pub status: String,
    /// Failure class.
    pub class: String,
    /// The phase in which it ended.
    #[serde(default)]
    pub phase: String,
    /// How long it took to be known.
    #[serde(default)]
    pub took_seconds: f64,
    /// What was attempted, where, and what was found.
    pub detail: String,
    /// How long ago.
    pub age_seconds: f64,
}

/// A latency distribution in four figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LatencyStatus {
    /// Number of measurements.
    pub count: u64,
    /// Arithmetic mean.
    pub mean_seconds: f64,
    /// Median.
    pub p50_seconds: f64,
    /// 99th percentile.
    pub p99_seconds: f64,
}

/// Mean of a phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseStatus {
    /// Name of the phase.
    pub phase: String,
    /// Window mean; `null` where the phase did not occur.
    pub seconds: Option<f64>,
}

/// One kind of round trip to the next hop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RulerStatus {
    /// `handshake`, `ack` or `ack_min` (answered by the next hop's kernel), or `ping` (answered by
    /// its event loop).
    pub ruler: String,
    /// Window median.
    pub median_seconds: f64,
    /// Window minimum.
    pub floor_seconds: f64,
}

/// A measurement's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasurementStatus {
    /// Where it measures: this agent's name, or a hop's.
    pub node: String,
    /// What it measures.
    pub name: String,
    /// Active, disabled or failed.
    pub state: MeasurementState,
    /// Why, as a closed word; empty while active.
    pub reason: String,
    /// The same for people; empty while active.
    pub detail: String,
}

/// One `[[discovery]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiscoveryStatus {
    /// The configured name.
    pub name: String,
    /// `file`, `dns`, …
    pub kind: String,
    /// Whether its source knows at present who is there. **None**: it has said nothing yet.
    pub up: Option<bool>,
    /// Endpoints of the roster in use. **None**: none has come yet.
    pub endpoints: Option<usize>,
    /// How long ago its source last knew who is there. **None**: never.
    pub age_seconds: Option<f64>,
    /// Why it does not know at present. **None**: it does.
    pub failure: Option<LookupFailureStatus>,
    /// Whether its source says that nobody is there, and the roster before is kept nevertheless.
    pub kept_when_empty: bool,
    /// Probes that are made of it.
    pub probes: usize,
    /// Nodes that are made of it.
    pub nodes: usize,
    /// What could not be made, by reason; zeros are left out.
    pub dropped: Vec<DropStatus>,
}

/// Why a discovery's source does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LookupFailureStatus {
    /// The kind, a closed word.
    pub class: String,
    /// The last failure for people.
    pub detail: String,
    /// How long it has not known.
    pub lasting_seconds: f64,
}

/// What could not be made of endpoints for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropStatus {
    /// The reason, a closed word.
    pub reason: String,
    /// How many at present.
    pub count: usize,
    /// One of them.
    pub example: String,
}

/// Whether a measurement delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeasurementState {
    /// It delivers.
    Active,
    /// It is switched off, or what it needs does not exist here.
    Disabled,
    /// It should deliver and does not.
    Failed,
}

impl MeasurementState {
    /// The names, in order of declaration.
    pub const NAMES: [&'static str; 3] = ["active", "disabled", "failed"];

    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// One kind of loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossStatus {
    /// What lost it.
    pub measurement: String,
    /// Which loss, of a closed set.
    pub loss: String,
    /// How many since start.
    pub count: u64,
}
