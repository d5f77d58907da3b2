//! What the agents of a region's nodes answered, on its way from the pollers to the ledgers.

use super::report::{NodeReport, Polled};
use std::time::Duration;

/// One answer, or the lack of one, from the agents that stand on the hops.
///
/// Agents of the own region are asked directly; those of another region through the forwarding
/// path, by one question to that region's receiver, which tells what its own polls brought.
#[derive(Debug, Clone)]
pub enum NodeEvent {
    /// A node's report came.
    Polled {
        /// The region that the node stands in.
        region: String,
        /// The node, as the configuration of its region has it: a hop's name.
        node: String,
        /// The report and when it was taken, on this reader's clock.
        polled: Box<Polled>,
    },
    /// A node's agent did not answer, here or to the agent of its region.
    Failed {
        /// The region that the node stands in.
        region: String,
        /// The node.
        node: String,
        /// Why not.
        failure: PollFailure,
    },
    /// Nothing came from a whole region, so nothing is known of any of its nodes.
    RegionFailed {
        /// The region.
        region: String,
        /// Why not.
        failure: PollFailure,
    },
}

/// Why a poll brought no report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollFailure {
    /// A gRPC status name such as `UNAVAILABLE`, or `BAD_REPORT`.
    pub status: String,
    /// What was attempted, where, and what was found; never a token.
    pub detail: String,
}

/// What an agent knows of one node of its own region: what it tells to other regions.
#[derive(Debug, Clone)]
pub struct KnownNode {
    /// The node as configured.
    pub node: String,
    /// Its last report. **None**: there never was one.
    pub report: Option<NodeReport>,
    /// From the middle of the poll that brought the report until now.
    pub age: Duration,
    /// How long that poll took.
    pub poll_round_trip: Duration,
    /// What the last poll failed with. **None**: it did not.
    pub failure: Option<PollFailure>,
}
