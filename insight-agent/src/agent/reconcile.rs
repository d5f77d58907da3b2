//! From what runs and what is wanted to what has to be done: pure.

use crate::collect::TlsFiles;
use crate::model::plan::ProbePlan;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A plan, and what the files that it names held when they were read for it: new files under old names
/// make another probe.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) plan: Arc<ProbePlan>,
    pub(super) files: Option<TlsFiles>,
}

/// What takes the running probes to the wanted ones.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// All that runs behind it, in the wanted order. Probes that are kept are the very ones (the same
    /// `Arc`) that ran before.
    pub(super) all: Vec<Planned>,
    /// Number of probes that are kept.
    pub(super) kept: usize,
    /// Those whose name is new.
    pub(super) start: Vec<Arc<ProbePlan>>,
    /// Those whose name runs otherwise.
    pub(super) replace: Vec<Arc<ProbePlan>>,
    /// Names that are not wanted any more.
    pub(super) stop: Vec<String>,
}

impl Planned {
    /// Blocking: reads the files that the plan names.
    pub(super) fn new(plan: ProbePlan) -> Self {
        let files = plan.route.tls.as_ref().map(TlsFiles::of);
        Self { plan: Arc::new(plan), files }
    }
}

impl Steps {
    /// Whether there is nothing to do. A new order of the file alone is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.start.is_empty() && self.replace.is_empty() && self.stop.is_empty()
    }
}

/// Compares by name, and then by all that matters for measuring; places in the file do not. Names are
/// unique on both sides, as the configuration's checks have them.
pub(super) fn steps(running: &[Planned], wanted: Vec<Planned>) -> Steps {
    let by_name: HashMap<_, _> =
        running.iter().map(|planned| (planned.plan.name.as_str(), planned)).collect();
    let names: HashSet<_> = wanted.iter().map(|planned| planned.plan.name.clone()).collect();
    let mut steps = Steps::default();
    for new in wanted {
        match by_name.get(new.plan.name.as_str()) {
            Some(old) if old.plan == new.plan && old.files == new.files => {
                steps.kept += 1;
                steps.all.push((*old).clone());
                continue;
            }
            Some(_) => steps.replace.push(Arc::clone(&new.plan)),
            None => steps.start.push(Arc::clone(&new.plan)),
        }
        steps.all.push(new);
    }
    let gone = running.iter().filter(|old| !names.contains(&old.plan.name));
    steps.stop = gone.map(|old| old.plan.name.clone()).collect();
    steps
}

#[cfg(test)]
mod tests;
