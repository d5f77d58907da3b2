//! Which agents are asked for their reports, and what is known of those of the own region.

use super::report::OwnReport;
use super::{AgentError, token};
use crate::collect::nodes::{Place, Poller, Target};
use crate::config::Config;
use crate::model::region::{KnownNode, NodeEvent, PollFailure};
use crate::model::report::Polled;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One poller per `[[node]]`, and one per region that a white-box probe reaches along a route.
/// Blocking: reads small files. Call it within a runtime.
///
/// # Errors
/// Each for itself, so that a check can show all of them.
pub(super) fn pollers(config: &Config) -> Vec<Result<Poller, AgentError>> {
    let targets = targets(config).into_iter();
    targets.map(|target| Ok(Poller::new(target?, config.probing.window)?)).collect()
}

/// Everyone who is asked. Blocking: reads small files.
///
/// # Errors
/// Each for itself.
pub(super) fn targets(config: &Config) -> Vec<Result<Target, AgentError>> {
    let mut targets = Vec::new();
    for node in &config.nodes {
        let token = node.token_file.as_deref();
        let token = token.map(|path| token::presented("[[node]] token_file", path)).transpose();
        targets.push(token.map(|token| Target {
            place: Place::Node { region: config.agent.region.clone(), node: node.name.clone() },
            host: node.address.host.clone(),
            port: node.address.port,
            authority: node.authority.clone(),
            metadata: Vec::new(),
            tls: node.tls.clone(),
            token,
        }));
    }
    for way in config.report_ways() {
        let token = way.token_file.as_deref();
        let token = token.map(|path| token::presented("[[route]] report_token_file", path)).transpose();
        targets.push(token.map(|token| Target {
            place: Place::Region { region: way.region },
            host: way.route.host,
            port: way.route.port,
            authority: way.route.authority,
            metadata: way.route.metadata,
            tls: way.route.tls,
            token,
        }));
    }
    targets
}

/// What this agent knows of the nodes of its own region: what it tells to other regions.
pub(super) struct NodeBoard {
    own: Arc<OwnReport>,
    /// Every configured node.
    nodes: Mutex<BTreeMap<String, Known>>,
}

#[derive(Clone, Default)]
struct Known {
    /// The last poll that succeeded.
    polled: Option<Arc<Polled>>,
    /// Why the last poll failed, if it did.
    failure: Option<PollFailure>,
}

impl NodeBoard {
    pub(super) fn new(config: &Config, own: Arc<OwnReport>) -> Self {
        let nodes = config.nodes.iter().map(|node| (node.name.clone(), Known::default()));
        Self { own, nodes: Mutex::new(nodes.collect()) }
    }

    /// Takes other nodes of this region from now on; what is known of those that stay stays.
    pub(super) fn set_nodes(&self, names: &BTreeSet<String>) {
        let mut nodes = self.nodes();
        nodes.retain(|name, _| names.contains(name));
        for name in names {
            nodes.entry(name.clone()).or_default();
        }
    }

    /// This node's own report.
    pub(super) fn own(&self) -> &OwnReport {
        &self.own
    }

    /// The same, to be filled by another thread.
    pub(super) fn own_shared(&self) -> Arc<OwnReport> {
        Arc::clone(&self.own)
    }

    /// This node's own report, as if it had been asked for.
    pub(super) fn own_event(&self) -> NodeEvent {
        let (report, at) = self.own.make();
        NodeEvent::Polled {
            region: report.region.clone(),
            node: report.node.clone(),
            polled: Box::new(Polled { report, asked: at, answered: at }),
        }
    }

    /// Keeps what is of a node of this region.
    pub(super) fn take(&self, event: &NodeEvent) {
        let (region, node) = match event {
            NodeEvent::Polled { region, node, .. } | NodeEvent::Failed { region, node, .. } => (region, node),
            NodeEvent::RegionFailed { .. } => return,
        };
        if region != self.own.region() {
            return;
        }
        let mut nodes = self.nodes();
        let Some(known) = nodes.get_mut(node) else { return };
        match event {
            NodeEvent::Polled { polled, .. } => {
                *known = Known { polled: Some(Arc::new((**polled).clone())), failure: None };
            }
            NodeEvent::Failed { failure, .. } => known.failure = Some(failure.clone()),
            NodeEvent::RegionFailed { .. } => {}
        }
    }

    /// Every node of this region as of now, this one among them.
    pub(super) fn known(&self) -> Vec<KnownNode> {
        // Reports are copied when the lock is free again.
        let nodes = self.nodes().clone();
        let now = Instant::now();
        let (report, at) = self.own.make();
        let mut all = vec![KnownNode {
            node: report.node.clone(),
            report: Some(report),
            age: now.saturating_duration_since(at),
            poll_round_trip: Duration::ZERO,
            failure: None,
        }];
        all.extend(nodes.into_iter().map(|(node, known)| {
            let polled = known.polled.as_deref();
            let middle = polled.map(Polled::middle);
            KnownNode {
                node,
                report: polled.map(|polled| polled.report.clone()),
                age: middle.map_or(Duration::ZERO, |middle| now.saturating_duration_since(middle)),
                poll_round_trip: polled.map_or(Duration::ZERO, Polled::round_trip),
                failure: known.failure,
            }
        }));
        all
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        // Entries are replaced whole.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
