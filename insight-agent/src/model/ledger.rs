//! A latency written as a sum: links + hops + service + transfer + unexplained.

use super::figure::Figure;
use serde::{Deserialize, Serialize};

/// Which of the two ledgers a figure belongs to; they are never mixed in one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerKind {
    /// White-box probes' own requests, from headers and trailers.
    Probe,
    /// Means over a window, from node reports.
    Window,
}

impl LedgerKind {
    /// Both names: the closed set of a `ledger` label.
    pub const NAMES: [&'static str; 2] = ["probe", "window"];

    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Whose requests an entry's mean is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Population {
    /// The probe's own.
    Probe,
    /// Everything that crossed the node or the link.
    All,
}

/// What an entry's figure rests on. The closed set of an `evidence` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// TCP handshake round trip of a fresh connection along the same route, or of a link probe
    /// over the same link.
    Handshake,
    /// The hop's own header: D − U.
    HopHeader,
    /// Two neighbours' headers about the same request: U of the nearer − D of the farther.
    HeaderDifference,
    /// The receiver's own receive → send duration.
    Receiver,
    /// The prober's own clock.
    Prober,
    /// The rest between what was measured as a whole and the entries.
    Difference,
    /// The kernel of the hop's own node: receive wait + residence, in both directions.
    Kernel,
    /// The smallest clean round trip that the kernel at one end of the link saw on live connections.
    RttFloor,
    /// The smallest handshake of a link probe from the node at the link's beginning.
    LinkProbe,
    /// Response at one node − turnaround at a later one, over exchanges that had their connection
    /// to themselves.
    Exchange,
    /// What the service's gRPC library said in `grpc-server-stats-bin`.
    ServerStats,
}

impl Evidence {
    /// The names, in the order of declaration.
    pub const NAMES: [&'static str; 11] = [
        "handshake",
        "hop_header",
        "header_difference",
        "receiver",
        "prober",
        "difference",
        "kernel",
        "rtt_floor",
        "link_probe",
        "exchange",
        "server_stats",
    ];

    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// What the forwarders on a hop's node had of their CPUs, between two readings of that host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct HopHost {
    /// Busy share of the CPUs that a forwarder may run on, from 0 to 1; of several forwarders, the
    /// highest. **None**: not known.
    pub busy_ratio: Option<f64>,
    /// Time for which their control groups were held back, per second; above 1 with several
    /// threads. **None**: not known.
    pub throttled_ratio: Option<f64>,
    /// Time for which their threads could have run and had no CPU, per second; above 1 with several
    /// threads. **None**: not known.
    pub run_delay_ratio: Option<f64>,
}

/// A ledger of one probe whose service tells its own time.
///
/// `unexplained = end_to_end − Σ segments whose figure is known`. No segment is computed as the
/// rest of the others. `residual` is the rest of the *telescoped* sum (see `correlate::ledger`),
/// which closes by construction; it is kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathLedger {
    /// Request + wait + response at the prober.
    pub end_to_end: Figure,
    /// In path order: link, hop, link, …, service, transfer.
    pub segments: Vec<Segment>,
    /// End to end minus the known segments.
    pub unexplained: Figure,
    /// First-byte time minus the telescoped sum. **None** when a figure for it is missing.
    pub residual: Option<Figure>,
}

/// A probe's ledger, and how much of its evidence found no place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeLedger {
    /// The sum.
    pub ledger: PathLedger,
    /// Hops that spoke but are not on the configured route, or that called themselves like an end
    /// of the path. Their figures are left out and their names go nowhere.
    pub unknown_hops: u32,
}

/// One entry of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// `link:A>B`, `hop:NAME`, `service` or `transfer`.
    pub name: String,
    /// Its duration and bound. **None**: no evidence; never 0.
    pub figure: Option<Figure>,
    /// What it rests on. **None** exactly when `figure` is.
    pub evidence: Option<Evidence>,
    /// Hops that were silent, so that this entry covers them and the links beside them too.
    pub merged: Vec<String>,
    /// The figure is negative beyond its bound: one of the sources is wrong.
    pub inconsistent: bool,
}

/// The name of a link's segment.
pub fn link_name(from: &str, to: &str) -> String {
    format!("link:{from}>{to}")
}

/// The name of a hop's segment.
pub fn hop_name(hop: &str) -> String {
    format!("hop:{hop}")
}

/// The far end of the last link, and the service's own segment.
pub const SERVICE: &str = "service";
/// The response phase at the prober.
pub const TRANSFER: &str = "transfer";
/// End to end minus the known segments.
pub const UNEXPLAINED: &str = "unexplained";
