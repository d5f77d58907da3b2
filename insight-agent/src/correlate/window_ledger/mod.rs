//! Where did the last window's time go, as the nodes on the path measured it?
//!
//! Every entry stands on evidence of its own, taken at one place and with one clock; none is the
//! rest of the others. Business traffic shares the nodes and takes other times to serve, so
//! absolute turnarounds and responses are in no entry. What is: the receive wait and the
//! residence of a hop, and the round trip of a link, which are the hop's and the link's and not
//! the request's.
//!
//! | entry | evidence, best first |
//! |---|---|
//! | link | smallest clean round trip seen by the kernel at its near, then its far end; smallest handshake of a link probe; of the first link, the prober's handshakes |
//! | hop | receive wait + residence, out and back, of its own kernel; its header |
//! | service | the receiver's trailer; the receiver's report |
//! | transfer | the prober's clock |
//! | a stretch around silent hops | response − turnaround at its two ends, over clean exchanges; the headers at its two ends |
//!
//! Evidence of which too little could be paired or kept apart is refused, and counted.

mod evidence;
mod merge;

#[cfg(test)]
mod tests;

use crate::correlate::nodes::NodeWindows;
use crate::model::ledger::{Evidence, LedgerKind, Population, SERVICE, TRANSFER, hop_name, link_name};
use crate::model::plan::ProbePlan;
use crate::model::series::lost::Loss;
use crate::model::window::{LedgerWindow, SegmentWindow};
use evidence::{Nodes, Refused};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A mean with what it is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// **Unit**: seconds.
    pub seconds: f64,
    /// How far off the sources' resolution lets it be. **Unit**: seconds.
    pub bound: f64,
    /// Number of figures.
    pub count: u64,
}

/// What the prober found out by itself over the window, entry by entry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProberMeans {
    /// Requests that were answered.
    pub count: u64,
    /// Mean of request + wait + response, in seconds. **None**: no request was answered.
    pub end_to_end: Option<f64>,
    /// The handshake over the first link.
    pub first_link: Option<Mean>,
    /// `hop:NAME` → D − U from its header.
    pub hops: BTreeMap<String, Mean>,
    /// `link:A>C` → the hops that it covers, and the difference of the headers at its ends.
    pub merged: BTreeMap<String, (Vec<String>, Mean)>,
    /// Receive → send, from the receiver's trailer.
    pub service: Option<Mean>,
    /// The response phase.
    pub transfer: Option<Mean>,
}

/// The ledger of one probe's path for the window that ends at `now`. Node windows that ended more
/// than `fresh` ago are not used.
///
/// **None**: no agent on any of the path's hops was ever heard of, so there is nothing to show
/// that the probe's own ledger does not.
pub fn window_ledger(
    plan: &ProbePlan,
    prober: &ProberMeans,
    nodes: &NodeWindows,
    now: Instant,
    fresh: Duration,
) -> Option<LedgerWindow> {
    let nodes = Nodes::new(nodes, [&plan.source, &plan.target], now, fresh);
    if !plan.route.hops.iter().any(|hop| nodes.heard(hop).is_some()) {
        return None;
    }
    let mut refused = Vec::new();
    let path: Vec<&str> = [plan.route.origin.as_str()]
        .into_iter()
        .chain(plan.route.hops.iter().map(String::as_str))
        .chain([SERVICE])
        .collect();
    let mut segments = Vec::new();
    for (at, pair) in path.windows(2).enumerate() {
        let first_link = if at == 0 { prober.first_link } else { None };
        let found = nodes.link(pair[0], pair[1], first_link);
        segments.push(segment(link_name(pair[0], pair[1]), found, nodes.silence(&[pair[0], pair[1]])));
        if let Some(&next) = path.get(at + 2) {
            let hop = pair[1];
            let found = taken(nodes.hop(pair[0], hop, next), &mut refused).or_else(|| {
                prober.hops.get(&hop_name(hop)).map(|mean| Found::of_probe(*mean, Evidence::HopHeader))
            });
            let host = nodes.host(hop);
            segments.push(SegmentWindow { host, ..segment(hop_name(hop), found, nodes.silence(&[hop])) });
        }
    }
    merge::merge(&mut segments, &path, &nodes, prober, &mut refused);
    let service = prober.service.map(|mean| Found::of_probe(mean, Evidence::Receiver));
    let service = service.or_else(|| nodes.service());
    segments.push(segment(SERVICE.to_owned(), service, nodes.silence_of_target()));
    let transfer = prober.transfer.map(|mean| Found::of_probe(mean, Evidence::Prober));
    segments.push(segment(TRANSFER.to_owned(), transfer, None));

    let known: f64 = segments.iter().filter_map(|segment| segment.mean).sum();
    Some(LedgerWindow {
        kind: LedgerKind::Window,
        probe: plan.name.clone(),
        count: prober.count,
        other_shape: 0,
        end_to_end: prober.end_to_end,
        segments,
        unexplained: prober.end_to_end.map(|end_to_end| end_to_end - known),
        residual: None,
        refused,
    })
}

/// An entry's figure and where it comes from.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    mean: Mean,
    evidence: Evidence,
    population: Population,
    node: Option<String>,
    age: Duration,
}

impl Found {
    fn of_probe(mean: Mean, evidence: Evidence) -> Self {
        Self { mean, evidence, population: Population::Probe, node: None, age: Duration::ZERO }
    }
}

/// The evidence, or nothing and one more reason.
fn taken(found: Result<Option<Found>, Refused>, refused: &mut Vec<Loss>) -> Option<Found> {
    found.unwrap_or_else(|Refused(loss)| {
        refused.push(loss);
        None
    })
}

/// `silence`: how long ago the node beside an entry without a figure was heard.
fn segment(name: String, found: Option<Found>, silence: Option<Duration>) -> SegmentWindow {
    let mean = found.as_ref().map(|found| found.mean);
    let inconsistent = mean.is_some_and(|mean| mean.seconds + mean.bound < 0.0);
    SegmentWindow {
        name,
        mean: mean.map(|mean| mean.seconds),
        bound: mean.map(|mean| mean.bound),
        evidence: found.as_ref().map(|found| found.evidence),
        population: found.as_ref().map(|found| found.population),
        age: found.as_ref().map(|found| found.age).or(silence),
        count: mean.map_or(0, |mean| mean.count),
        merged: Vec::new(),
        inconsistent: u64::from(inconsistent),
        host: None,
        node: found.and_then(|found| found.node),
    }
}
