//! What this agent tells the others: its own report, and its whole region's.
//!
//! The receiver's figures are durations of the thread that serves it. So a report is put together
//! on another thread, few at a time, and only its encoding is left to this one.

use super::ServiceTimes;
use crate::model::region::KnownNode;
use crate::model::report::NodeReport;
use crate::proto::report::{MAX_REPORT_BYTES, write_report};
use crate::proto::v1;
use crate::proto::v1::node_server::Node;
use crate::secret::Secret;
use prost::Message;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// Largest answer of a whole region: what gRPC clients accept unless told otherwise.
pub const MAX_REGION_BYTES: usize = 4 * 1024 * 1024;
/// Most nodes whose reports one answer carries: as many as fit when each is as large as it may be.
pub const MAX_REPORTS: usize = 60;
/// Most nodes that one answer names at all.
pub const MAX_NODES: usize = 64;
/// What one entry takes beside its report: names, ages and a status, with room to spare.
const ENTRY_OVERHEAD: usize = 1024;
/// Why a report that exists is not in the answer, as a gRPC status name.
const LEFT_OUT: &str = "RESOURCE_EXHAUSTED";

/// Reports that are put together at once; others wait for their turn. One reader a second needs a
/// fraction of one; many more would only take CPU from what they ask about.
const AT_ONCE: usize = 2;

/// Gives this node's report. **None**: there is none yet.
pub type OwnReport = Arc<dyn Fn() -> Option<NodeReport> + Send + Sync>;
/// Gives the nodes of this region, itself among them.
pub type RegionNodes = Arc<dyn Fn() -> Vec<KnownNode> + Send + Sync>;

/// Where reports come from, and who may read them.
#[derive(Clone)]
pub struct Reports {
    /// What readers must present. **None**: nothing.
    pub token: Option<Secret>,
    /// This node's report; may block for some milliseconds.
    pub own: OwnReport,
    /// The region's nodes; may block for some milliseconds.
    pub region: RegionNodes,
    /// Where the receiver records how long it takes.
    pub service_times: ServiceTimes,
}

impl fmt::Debug for Reports {
    /// Closures have no text of their own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports").field("token", &self.token).finish_non_exhaustive()
    }
}

/// Answers `insight.v1.Node`.
#[derive(Debug)]
pub struct NodeReports {
    /// The region that this agent stands in.
    region: String,
    reports: Reports,
    turns: Arc<Semaphore>,
}

impl NodeReports {
    /// Reports of the agent of this region.
    pub fn new(region: String, reports: Reports) -> Self {
        Self { region, reports, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    fn check_token(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let Some(token) = &self.reports.token else { return Ok(()) };
        let value = metadata.get("authorization").map(|value| value.as_bytes());
        match value.and_then(bearer) {
            Some(presented) if token.matches(presented) => Ok(()),
            Some(_) => Err(Status::unauthenticated(
                "the token is not this agent's: present the content of its grpc.token_file (the reader's \
                 node.token_file, or route.report_token_file)",
            )),
            None => Err(Status::unauthenticated(
                "reports need a token, and there is no \"authorization: Bearer ...\": set node.token_file, or \
                 route.report_token_file, to the content of this agent's grpc.token_file",
            )),
        }
    }

    /// Runs `make` on a thread that may block.
    async fn aside<T: Send + 'static>(&self, make: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
        let gone = |_| Status::unavailable("this agent is stopping: ask again");
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| gone(()))?;
        let made = tokio::task::spawn_blocking(move || {
            let made = make();
            drop(turn);
            made
        });
        made.await.map_err(|error| match error.is_panic() {
            true => Status::internal("putting the report together failed: see this agent's log"),
            false => gone(()),
        })
    }
}

#[tonic::async_trait]
impl Node for NodeReports {
    async fn report(&self, request: Request<v1::ReportRequest>) -> Result<Response<v1::NodeReport>, Status> {
        self.check_token(request.metadata())?;
        let own = Arc::clone(&self.reports.own);
        let report = self.aside(move || own().map(|report| write_report(&report))).await?;
        report.map(Response::new).ok_or_else(|| Status::unavailable("there is no report yet: ask again"))
    }

    async fn region_report(
        &self,
        request: Request<v1::RegionReportRequest>,
    ) -> Result<Response<v1::RegionReportResponse>, Status> {
        self.check_token(request.metadata())?;
        let (nodes, region) = (Arc::clone(&self.reports.region), self.region.clone());
        self.aside(move || Response::new(write_region(region, nodes()))).await
    }
}

/// The token in an `authorization` header. **None**: it is of another scheme.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// One answer below [`MAX_REGION_BYTES`]. Reports that do not fit are left out, and said to be.
fn write_region(region: String, mut known: Vec<KnownNode>) -> v1::RegionReportResponse {
    known.sort_by(|a, b| a.node.cmp(&b.node));
    known.truncate(MAX_NODES);
    let mut room = MAX_REGION_BYTES - MAX_NODES * ENTRY_OVERHEAD;
    let mut left = MAX_REPORTS;
    let nodes = known.into_iter().map(|node| {
        let mut entry = v1::NodeReportOfRegion {
            node: node.node,
            report: None,
            age_ns: 0,
            poll_round_trip_ns: 0,
            failure: node.failure.map(|failure| failure.status).unwrap_or_default(),
        };
        if let Some(report) = &node.report {
            let written = write_report(report);
            let bytes = written.encoded_len();
            // A report of names alone can be larger than it may: its readers would refuse it.
            if left > 0 && bytes <= room && bytes <= MAX_REPORT_BYTES {
                (room, left) = (room - bytes, left - 1);
                entry.report = Some(written);
                entry.age_ns = nanoseconds(node.age);
                entry.poll_round_trip_ns = nanoseconds(node.poll_round_trip);
            } else if entry.failure.is_empty() {
                entry.failure = LEFT_OUT.to_owned();
            }
        }
        entry
    });
    v1::RegionReportResponse { nodes: nodes.collect(), region }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::region::PollFailure;
    use crate::model::report::{Distribution, SeriesKey};
    use std::collections::BTreeMap;

    fn known(name: String, series: usize) -> KnownNode {
        let mut distribution = Distribution::default();
        (0..400).for_each(|event| distribution.record(event * event * 1009, 0));
        let key = |nth: usize| SeriesKey {
            measurement: "receive_wait".into(),
            labels: vec![("peer".into(), format!("peer-{nth}")), ("role".into(), "accepted".into())],
        };
        let report = NodeReport {
            node: name.clone(),
            region: "eu".into(),
            epoch: 1,
            uptime: Duration::from_secs(9),
            series: BTreeMap::from_iter((0..series).map(|nth| (key(nth), distribution.clone()))),
            measurements: vec![],
            series_left_out: 0,
        };
        KnownNode {
            node: name,
            report: Some(report),
            age: Duration::from_millis(7),
            poll_round_trip: Duration::from_micros(300),
            failure: None,
        }
    }

    #[test]
    fn a_region_of_the_largest_reports_fits_a_message_and_says_what_was_left_out() {
        let region =
            write_region("eu".into(), (0..70).rev().map(|n| known(format!("node-{n:02}"), 1000)).collect());
        assert!(region.encoded_len() < MAX_REGION_BYTES, "{}", region.encoded_len());
        assert_eq!(region.nodes.len(), MAX_NODES);
        assert!(region.nodes.is_sorted_by(|a, b| a.node < b.node));
        let (with, without): (Vec<_>, Vec<_>) = region.nodes.iter().partition(|node| node.report.is_some());
        assert!(with.len() >= 50, "{}", with.len());
        assert!(with.iter().all(|node| node.failure.is_empty() && node.age_ns == 7_000_000));
        assert!(without.iter().all(|node| node.failure == LEFT_OUT && node.age_ns == 0));
    }

    #[test]
    fn a_node_whose_last_poll_failed_keeps_its_report_and_says_the_failure() {
        let mut node = known("a".into(), 1);
        node.failure = Some(PollFailure { status: "UNAVAILABLE".into(), detail: "10.0.0.1 is down".into() });
        let region = write_region("eu".into(), vec![node]);
        assert!(region.nodes[0].report.is_some());
        assert_eq!(region.nodes[0].failure, "UNAVAILABLE", "the status alone: details name addresses");
    }

    #[test]
    fn only_bearer_tokens_are_tokens() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        for other in ["", "abc", "Basic YTpi", "Bearer"] {
            assert_eq!(bearer(other.as_bytes()), None, "{other}");
        }
    }
}
