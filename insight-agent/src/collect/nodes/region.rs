//! The answer of another region's receiver: what its own polls brought, on this reader's clock.

use super::ask::BAD_REPORT;
use super::moved_back;
use crate::model::outcome::GrpcStatus;
use crate::model::region::{NodeEvent, PollFailure};
use crate::model::report::Polled;
use crate::proto::report::{is_name, read_report};
use crate::proto::v1::{NodeReportOfRegion, RegionReportResponse};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Most nodes that are read from one answer.
const MAX_NODES: usize = 64;

/// One event per node. **Errors**: what is wrong with the answer as a whole.
pub(super) fn read_region(
    region: &str,
    written: RegionReportResponse,
    asked: Instant,
    answered: Instant,
    described: &str,
) -> Result<Vec<NodeEvent>, String> {
    if written.region != region {
        let other: String = written.region.chars().take(64).collect();
        return Err(format!(
            "the agent that answered stands in region {other:?}: correct the route, or the probe's target"
        ));
    }
    if written.nodes.len() > MAX_NODES {
        return Err(format!("{} nodes are more than the {MAX_NODES} that are read", written.nodes.len()));
    }
    let mut names = BTreeSet::new();
    for node in &written.nodes {
        if !is_name(&node.node) {
            return Err("the name of a node in it is empty, too long or not visible ASCII".into());
        }
        if !names.insert(node.node.clone()) {
            return Err(format!("node {:?} is in it twice", node.node));
        }
    }
    let events = written.nodes.into_iter().map(|entry| {
        let (region, node) = (region.to_owned(), entry.node.clone());
        match read_entry(&region, entry, asked, answered) {
            Ok(polled) => NodeEvent::Polled { region, node, polled: Box::new(polled) },
            Err((status, what)) => {
                let detail = format!("{described} tells of node {node:?}: {status}: {what}");
                NodeEvent::Failed { region, node, failure: PollFailure { status: status.to_owned(), detail } }
            }
        }
    });
    Ok(events.collect())
}

fn read_entry(
    region: &str,
    entry: NodeReportOfRegion,
    asked: Instant,
    answered: Instant,
) -> Result<Polled, (&'static str, String)> {
    if !entry.failure.is_empty() {
        let known = GrpcStatus::NAMES.into_iter().chain([BAD_REPORT]).find(|name| *name == entry.failure);
        let status = known.unwrap_or(GrpcStatus::Unknown.as_str());
        return Err((status, "the last question to its agent failed: see the log there".into()));
    }
    let Some(report) = entry.report else {
        let what = "its agent has not been asked yet, or was not heard of".to_owned();
        return Err((GrpcStatus::Unavailable.as_str(), what));
    };
    let report = read_report(report).map_err(|bad| (BAD_REPORT, bad.to_string()))?;
    if report.node != entry.node {
        return Err((BAD_REPORT, format!("the report is of node {:?}", report.node)));
    }
    if report.region != region {
        return Err((BAD_REPORT, format!("the report is of region {:?}", report.region)));
    }
    let age = Duration::from_nanos(entry.age_ns);
    let slack = Duration::from_nanos(entry.poll_round_trip_ns) / 2;
    let (asked, answered) = moved_back(asked, answered, age, slack)
        .ok_or_else(|| (BAD_REPORT, format!("the report is {age:?} old, which is before any clock began")))?;
    Ok(Polled { report, asked, answered })
}
