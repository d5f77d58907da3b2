//! The agents that are asked for their reports: one task each, which come and go.

use super::{AgentError, nodes};
use crate::collect::TlsFiles;
use crate::collect::nodes::{Outlet, Place, Poller, Target};
use crate::config::Config;
use crate::model::region::NodeEvent;
use std::collections::{BTreeSet, HashMap};
use tokio::task::{AbortHandle, JoinSet};

/// Who is asked, and what the files that it names held when they were read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    target: Target,
    files: Option<TlsFiles>,
}

impl Asked {
    /// Everyone whom a configuration asks. Blocking: reads small files.
    ///
    /// # Errors
    /// Each for itself.
    pub(super) fn all(config: &Config) -> Vec<Result<Self, AgentError>> {
        let targets = nodes::targets(config).into_iter();
        let asked = targets.map(|target| {
            let target = target?;
            let files = target.tls.as_ref().map(TlsFiles::of);
            Ok(Self { target, files })
        });
        asked.collect()
    }

    pub(super) fn place(&self) -> &Place {
        &self.target.place
    }

    /// Blocking: reads small files. Call it within a runtime.
    ///
    /// # Errors
    /// It cannot be asked as configured.
    pub(super) fn poller(&self, config: &Config) -> Result<Poller, AgentError> {
        Ok(Poller::new(self.target.clone(), config.probing.window)?)
    }
}

/// Whose answers count: those of nobody else become figures or labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// The own region's nodes, without this one.
    pub(super) nodes: BTreeSet<String>,
    /// The other regions.
    regions: BTreeSet<String>,
    /// This agent's region and name.
    own: (String, String),
}

impl Places {
    pub(super) fn of(config: &Config, asked: &[Asked]) -> Self {
        let mut places =
            Self { own: (config.agent.region.clone(), config.agent.name.clone()), ..Self::default() };
        for place in asked.iter().map(Asked::place) {
            match place {
                Place::Node { node, .. } => places.nodes.insert(node.clone()),
                Place::Region { region } => places.regions.insert(region.clone()),
            };
        }
        places
    }

    /// Whether a node counts; without a node, whether a region has any that could.
    pub(super) fn knows(&self, region: &str, node: Option<&str>) -> bool {
        if region == self.own.0 {
            node.is_none_or(|node| node == self.own.1 || self.nodes.contains(node))
        } else {
            self.regions.contains(region)
        }
    }

    /// Whether an answer counts.
    pub(super) fn know(&self, event: &NodeEvent) -> bool {
        match event {
            NodeEvent::Polled { region, node, .. } | NodeEvent::Failed { region, node, .. } => {
                self.knows(region, Some(node))
            }
            NodeEvent::RegionFailed { region, .. } => self.knows(region, None),
        }
    }
}

/// Which questions end and which begin.
#[derive(Debug, Default)]
pub(super) struct AskChange {
    pub(super) stop: Vec<Place>,
    pub(super) start: Vec<(Place, Poller)>,
}

impl AskChange {
    /// What takes the running ones to the wanted ones. Blocking: reads small files. Call it within a
    /// runtime.
    ///
    /// # Errors
    /// All who cannot be asked as configured.
    pub(super) fn between(
        running: &[Asked],
        wanted: &[Asked],
        config: &Config,
    ) -> Result<Self, Vec<AgentError>> {
        let mut change = Self::default();
        let mut errors = Vec::new();
        for new in wanted.iter().filter(|new| !running.contains(new)) {
            match new.poller(config) {
                Ok(poller) => change.start.push((new.place().clone(), poller)),
                Err(error) => errors.push(error),
            }
        }
        let stay = |old: &&Asked| wanted.contains(old);
        change.stop = running.iter().filter(|old| !stay(old)).map(|old| old.place().clone()).collect();
        if errors.is_empty() { Ok(change) } else { Err(errors) }
    }
}

/// The tasks that ask.
pub(super) struct Askers {
    outlet: Outlet,
    tasks: JoinSet<()>,
    handles: HashMap<Place, AbortHandle>,
}

impl Askers {
    pub(super) fn new(outlet: Outlet) -> Self {
        Self { outlet, tasks: JoinSet::new(), handles: HashMap::new() }
    }

    /// Those that end close their connections; what they are asking is cut off.
    pub(super) fn apply(&mut self, AskChange { stop, start }: AskChange) {
        for handle in stop.iter().filter_map(|place| self.handles.remove(place)) {
            handle.abort();
        }
        for (place, poller) in start {
            let handle = self.tasks.spawn(poller.run(self.outlet.clone()));
            self.handles.insert(place, handle);
        }
    }

    /// Completes when a task ends by itself, which none should. Cancelling it loses nothing.
    pub(super) async fn ended(&mut self) {
        loop {
            match self.tasks.join_next().await {
                Some(Err(error)) if error.is_cancelled() => {}
                Some(_) => return,
                None => std::future::pending().await,
            }
        }
    }
}
