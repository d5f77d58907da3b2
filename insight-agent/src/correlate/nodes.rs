//! What the hops' agents measured lately: two reports of a node make a window.

use super::hop_host;
use crate::model::ledger::HopHost;
use crate::model::region::{NodeEvent, PollFailure};
use crate::model::report::{MeasurementReport, NoWindow, NodeWindow, Polled};
use crate::model::series::lost::Loss;
use crate::model::status::{MeasurementState, MeasurementStatus};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a first report waits for a second one that makes a window sharp enough. Polls that
/// take seconds give one window a minute; with half of it a path of 3 s round trip gave none.
const BASE_MAX_AGE: Duration = Duration::from_secs(60);

/// Most nodes that are kept of one region: names come from that region's configuration, and here
/// they become labels.
const MAX_NODES: usize = 64;

/// The last window of every node that answers.
#[derive(Debug, Default)]
pub struct NodeWindows {
    /// Region → node.
    regions: BTreeMap<String, Region>,
}

#[derive(Debug, Default)]
struct Region {
    nodes: BTreeMap<String, Node>,
    failure: Option<PollFailure>,
}

#[derive(Debug, Default)]
struct Node {
    /// The last report that a window may begin with.
    base: Option<Polled>,
    recent: Option<RecentWindow>,
    /// Of the last window in which the node's host was read.
    host: Option<RecentHost>,
    /// When the node's figures were last read, as far as this reader knows.
    heard: Option<Instant>,
    measurements: Vec<MeasurementReport>,
    failure: Option<PollFailure>,
}

/// A window and when it was, on this reader's clock.
#[derive(Debug, Clone)]
pub struct RecentWindow {
    /// The figures.
    pub window: NodeWindow,
    /// The middle of the poll that ended it.
    pub ended: Instant,
}

/// What a hop's forwarders had of their CPUs.
#[derive(Debug, Clone, Copy)]
struct RecentHost {
    figures: HopHost,
    /// How far its two readings were apart: the next one is due after as much time.
    length: Duration,
    ended: Instant,
}

impl NodeWindows {
    /// Takes what a poll brought. Gives the kind of loss if a window was lost by it.
    pub fn take(&mut self, event: NodeEvent) -> Option<Loss> {
        match event {
            NodeEvent::Polled { region, node, polled } => match self.node_mut(region, node) {
                Some(node) => node.take(*polled),
                None => Some(Loss::Capped),
            },
            NodeEvent::Failed { region, node, failure } => {
                if let Some(node) = self.node_mut(region, node) {
                    node.failure = Some(failure);
                }
                None
            }
            NodeEvent::RegionFailed { region, failure } => {
                self.regions.entry(region).or_default().failure = Some(failure);
                None
            }
        }
    }

    /// Forgets every node for which `asked` (region, node) is not true, and every region for which nobody
    /// is asked any more (no node).
    pub fn retain(&mut self, asked: impl Fn(&str, Option<&str>) -> bool) {
        self.regions.retain(|name, region| {
            region.nodes.retain(|node, _| asked(name, Some(node)));
            asked(name, None)
        });
    }

    /// The last window of a node, if it ended at most `fresh` ago.
    pub fn window(&self, region: &str, node: &str, now: Instant, fresh: Duration) -> Option<&RecentWindow> {
        let recent = self.node(region, node)?.recent.as_ref()?;
        (now.saturating_duration_since(recent.ended) <= fresh).then_some(recent)
    }

    /// What the forwarders on a node had of their CPUs, when its host was last read. A host that is
    /// read more rarely than its node is asked keeps its figures until the next reading is overdue.
    pub fn host(&self, region: &str, node: &str, now: Instant, fresh: Duration) -> Option<HopHost> {
        let host = self.node(region, node)?.host?;
        let until = fresh.max(host.length * 2);
        (now.saturating_duration_since(host.ended) <= until).then_some(host.figures)
    }

    /// When a node's figures were last read. **None**: never.
    pub fn heard(&self, region: &str, node: &str) -> Option<Instant> {
        self.node(region, node)?.heard
    }

    /// When any node of a region was last heard of. **None**: never.
    pub fn last_heard(&self, region: &str) -> Option<Instant> {
        self.regions.get(region)?.nodes.values().filter_map(|node| node.heard).max()
    }

    /// Every fresh window of a region, with its node.
    pub fn fresh<'a>(
        &'a self,
        region: &str,
        now: Instant,
        fresh: Duration,
    ) -> impl Iterator<Item = (&'a str, &'a RecentWindow)> {
        let nodes = self.regions.get(region).map(|region| &region.nodes);
        nodes.into_iter().flatten().filter_map(move |(name, node)| {
            let recent = node.recent.as_ref()?;
            (now.saturating_duration_since(recent.ended) <= fresh).then_some((name.as_str(), recent))
        })
    }

    /// A node of a region that could be asked, made if it is new. **None**: the region is full.
    fn node_mut(&mut self, region: String, node: String) -> Option<&mut Node> {
        let region = self.regions.entry(region).or_default();
        region.failure = None;
        let has_room = region.nodes.len() < MAX_NODES || region.nodes.contains_key(&node);
        has_room.then(|| region.nodes.entry(node).or_default())
    }

    fn node(&self, region: &str, node: &str) -> Option<&Node> {
        self.regions.get(region)?.nodes.get(node)
    }

    /// Whether each node answers, and what its own measurements say of themselves. `own` is left
    /// out: this agent knows itself better.
    ///
    /// **Shape**: one `report` per node, and what that node reported while it answered; one
    /// `region_report` per region that could not be asked, with the region as its node.
    pub fn states(&self, own: &str, now: Instant, fresh: Duration) -> Vec<MeasurementStatus> {
        let mut states = Vec::new();
        for (name, region) in &self.regions {
            if let Some(failure) = &region.failure {
                let state = MeasurementState::Failed;
                states.push(status(name, "region_report", state, "no_answer", &failure.detail));
            }
            for (name, node) in region.nodes.iter().filter(|(name, _)| *name != own) {
                node.states(name, now, fresh, region.failure.is_some(), &mut states);
            }
        }
        states
    }
}

impl Node {
    fn take(&mut self, polled: Polled) -> Option<Loss> {
        let ended = polled.middle();
        self.heard = self.heard.max(Some(ended));
        self.failure = None;
        self.measurements.clone_from(&polled.report.measurements);
        let Some(base) = &self.base else {
            self.base = Some(polled);
            return None;
        };
        let loss = match NodeWindow::between(base, &polled) {
            Ok(window) => {
                if let Some((figures, length)) = hop_host::between(&base.report, &polled.report) {
                    self.host = Some(RecentHost { figures, length, ended });
                }
                self.recent = Some(RecentWindow { window, ended });
                None
            }
            // The same report again, or an older one: polls can overtake each other.
            Err(NoWindow::NotLater) => return None,
            // A later report makes a longer window, which is sharper: the base stays for a while.
            Err(NoWindow::Blurred) if ended.saturating_duration_since(base.middle()) < BASE_MAX_AGE => {
                return Some(Loss::Blurred);
            }
            Err(NoWindow::Blurred) => Some(Loss::Blurred),
            Err(begun_anew @ (NoWindow::Restarted | NoWindow::Fell)) => {
                self.recent = None;
                self.host = None;
                let restarted = begun_anew == NoWindow::Restarted;
                Some(if restarted { Loss::Restarted } else { Loss::Contradiction })
            }
        };
        self.base = Some(polled);
        loss
    }

    fn states(
        &self,
        name: &str,
        now: Instant,
        fresh: Duration,
        region_failed: bool,
        states: &mut Vec<MeasurementStatus>,
    ) {
        let silent = self.heard.is_none_or(|heard| now.saturating_duration_since(heard) > fresh);
        let failed = |reason, detail: &str| status(name, "report", MeasurementState::Failed, reason, detail);
        let state = match &self.failure {
            Some(failure) => failed("no_answer", &failure.detail),
            None if silent && region_failed => {
                failed("no_answer", "its region could not be asked: see region_report")
            }
            None if silent => failed("stale", "its last report is too old"),
            None => status(name, "report", MeasurementState::Active, "", ""),
        };
        let answers = state.state == MeasurementState::Active;
        states.push(state);
        if answers {
            let see = format!("as {name}'s agent reports: see its /api/v1/status");
            states.extend(self.measurements.iter().map(|measurement| {
                let MeasurementReport { measurement, state, reason } = measurement;
                status(name, measurement, *state, reason, if reason.is_empty() { "" } else { &see })
            }));
        }
    }
}

fn status(node: &str, name: &str, state: MeasurementState, reason: &str, detail: &str) -> MeasurementStatus {
    let [node, name, reason, detail] = [node, name, reason, detail].map(str::to_owned);
    MeasurementStatus { node, name, state, reason, detail }
}
