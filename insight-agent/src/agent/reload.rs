//! A new configuration while the agent runs: what of it counts at once, and what after a restart?
//!
//! Probes, routes and nodes count at once, and so does `[kernel]` where the running one says `reloadable`:
//! its programs are loaded anew, which costs the reports one window. Everything that can fail is done
//! before anything changes: a file that cannot be used changes nothing at all.
//!
//! Another roster of a discovery goes the same way, under the same lock, so the two never race.

use super::asked::{AskChange, Asked, Places};
use super::changes::{Change, Handed, Known, hand_over};
use super::discovery::Templates;
use super::error::error_text;
use super::files::check_templates;
use super::reconcile::{Planned, Steps, steps};
use crate::collect::probe::{ProbeChange, ReadyProbes};
use crate::config::{self, Config, Expanded, Rosters};
use crate::model::plan::ProbePlan;
use crate::model::reload::{ConfigState, ReloadSummary};
use crate::publish::metrics::Metrics;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError};
use std::time::SystemTime;
use tokio::sync::{Mutex, mpsc};

/// What asked for a reload, as the log names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The signal.
    Hangup,
    /// `POST /-/reload`.
    Request,
    /// The file is another one than before.
    FileChange,
}

impl Trigger {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Request => "POST /-/reload",
            Self::FileChange => "the configuration file has changed",
        }
    }
}

/// Takes new configurations and new rosters of a running agent, one at a time.
pub struct Reloader {
    path: OnceLock<PathBuf>,
    running: Mutex<Running>,
    changes: mpsc::Sender<Handed<Change>>,
    kernel: StdMutex<Sender<config::Kernel>>,
    metrics: Arc<Metrics>,
    templates: Arc<Templates>,
}

/// What the agent runs with.
#[derive(Clone)]
pub(super) struct Running {
    /// What of the file counts: sections that take a restart are those of the start.
    pub(super) config: Config,
    /// What its templates have been filled with.
    pub(super) rosters: Rosters,
    pub(super) probes: Vec<Planned>,
    pub(super) asked: Vec<Asked>,
}

/// Another state whose files are read.
struct Prepared {
    running: Running,
    expanded: Expanded,
    steps: Steps,
    change: Change,
}

impl Reloader {
    pub(super) fn new(
        running: Running,
        changes: mpsc::Sender<Handed<Change>>,
        kernel: Sender<config::Kernel>,
        metrics: Arc<Metrics>,
        templates: Arc<Templates>,
    ) -> Self {
        let (running, kernel) = (Mutex::new(running), StdMutex::new(kernel));
        Self { path: OnceLock::new(), running, changes, kernel, metrics, templates }
    }

    /// The file that is read from now on; only the first one counts.
    pub(super) fn follow(&self, path: PathBuf) {
        let _ = self.path.set(path);
    }

    /// The file that is read. **None**: the agent follows none.
    pub fn path(&self) -> Option<&Path> {
        self.path.get().map(PathBuf::as_path)
    }

    /// Reads the file and makes of it what can be made. Logged, and shown in the metrics. Goes on when the
    /// caller does not wait for it; a second one waits for the first.
    ///
    /// # Errors
    /// Everything that is wrong with the file, or with a file that it names, a line each; nothing has
    /// changed then.
    pub async fn reload(self: &Arc<Self>, trigger: Trigger) -> Result<ReloadSummary, String> {
        let reloader = Arc::clone(self);
        let reloading = tokio::spawn(async move { reloader.reload_alone(trigger).await });
        reloading.await.unwrap_or_else(|_| Err("the reload broke: see the agent's log".to_owned()))
    }

    async fn reload_alone(&self, trigger: Trigger) -> Result<ReloadSummary, String> {
        let mut running = self.running.lock().await;
        let result = self.replace(&mut running).await;
        let trigger = trigger.as_str();
        match &result {
            Ok(summary) if summary.restart_required.is_empty() => tracing::info!("{trigger}: {summary}"),
            Ok(summary) => tracing::warn!("{trigger}: {summary}"),
            Err(why) => tracing::error!("{trigger}: the agent goes on as it was: {why}"),
        }
        self.metrics.publish_config(|before| match &result {
            Ok(summary) => ConfigState {
                successful: true,
                success: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok(),
                restart_required: !summary.restart_required.is_empty(),
            },
            Err(_) => ConfigState { successful: false, ..before },
        });
        result
    }

    async fn replace(&self, running: &mut Running) -> Result<ReloadSummary, String> {
        let path = self.path().ok_or("this agent follows no file")?;
        let (read, now) = (path.to_owned(), running.clone());
        let loaded = tokio::task::spawn_blocking(move || {
            let loaded = Config::load(&read).map_err(|errors| errors.to_string())?;
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            let config = counting(&now.config, &loaded.config);
            let unusable: Vec<_> = check_templates(&config).iter().map(|error| error_text(error)).collect();
            let prepared = match unusable.is_empty() {
                true => prepare(config, now.rosters.clone(), &now),
                false => Err(unusable.join("\n")),
            };
            let prepared = prepared.map_err(|why| format!("{}: {why}", read.display()))?;
            Ok::<_, String>((loaded.config, prepared))
        });
        let (new, prepared) = loaded.await.map_err(|_| BROKE.to_owned())??;
        let (mut next, mut summary) = self.take(running, prepared).await?;
        let kernel_waits = self.replace_kernel(&mut next.config, &new, &mut summary);
        summary.restart_required = waiting(&next.config, &new);
        summary.restart_required.extend(kernel_waits.map(|why| format!("[kernel] ({why})")));
        self.templates.watch(&next.config.discoveries);
        *running = next;
        Ok(summary)
    }

    /// Fills the templates anew: these are the rosters of the discoveries that have brought one. Goes on
    /// when the caller does not wait for it.
    ///
    /// # Errors
    /// Files that probes name cannot be used any more, a line each; nothing has changed then.
    pub(super) async fn refill(self: &Arc<Self>, rosters: Rosters) -> Result<(), String> {
        let reloader = Arc::clone(self);
        let refilling = tokio::spawn(async move { reloader.refill_alone(rosters).await });
        refilling.await.unwrap_or_else(|_| Err(BROKE.to_owned()))
    }

    async fn refill_alone(&self, rosters: Rosters) -> Result<(), String> {
        let mut running = self.running.lock().await;
        let now = running.clone();
        let prepared = tokio::task::spawn_blocking(move || prepare(now.config.clone(), rosters, &now)).await;
        let (next, summary) = self.take(&running, prepared.map_err(|_| BROKE.to_owned())??).await?;
        *running = next;
        tracing::info!("discovery: {summary}");
        Ok(())
    }

    /// Has the parts take what has been prepared.
    async fn take(&self, running: &Running, prepared: Prepared) -> Result<(Running, ReloadSummary), String> {
        let Prepared { running: next, expanded, steps, change } = prepared;
        let names = |plans: &[Arc<ProbePlan>]| plans.iter().map(|plan| plan.name.clone()).collect();
        let summary = ReloadSummary {
            kept: steps.kept,
            started: names(&steps.start),
            replaced: names(&steps.replace),
            stopped: steps.stop.clone(),
            ..ReloadSummary::default()
        };
        let is_change = !steps.is_empty() || next.asked != running.asked;
        if is_change && hand_over(&self.changes, change).await.is_none() {
            return Err("the agent is stopping".to_owned());
        }
        self.templates.filled(&expanded, &next.rosters);
        Ok((next, summary))
    }

    /// Gives the kernel thread what it has to load, if that is another thing. Gives why it has to wait.
    fn replace_kernel(
        &self,
        running: &mut Config,
        new: &Config,
        summary: &mut ReloadSummary,
    ) -> Option<&'static str> {
        let (had, wanted) = (&running.kernel, &new.kernel);
        if text(had) == text(wanted) {
            return None;
        }
        if !had.reloadable {
            return Some("kernel.reloadable is off: what loads programs has been given up");
        }
        let names = |of: &config::Kernel| of.peers.iter().map(|peer| peer.name.clone()).collect::<Vec<_>>();
        if names(had) != names(wanted) {
            return Some("other peer groups than before take a restart");
        }
        // Whether they are kept was decided at the start.
        let kept = config::Kernel { reloadable: had.reloadable, ..wanted.clone() };
        let is_reloadable_alone = text(&kept) == text(had);
        if !is_reloadable_alone {
            let kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
            if kernel.send(kept.clone()).is_err() {
                return Some("kernel measurements do not run: kernel.enabled is read at the start");
            }
            summary.kernel = true;
            running.kernel = kept;
        }
        (!wanted.reloadable).then_some("kernel.reloadable is decided at the start")
    }
}

/// Where a task ended that should not.
const BROKE: &str = "preparing it broke: see the agent's log";

/// Everything that can fail, before anything changes. Blocking: reads files. Call it within a runtime.
fn prepare(config: Config, rosters: Rosters, running: &Running) -> Result<Prepared, String> {
    let expanded = config.expand(&rosters);
    let full = &expanded.config;
    let wanted = full.probe_plans().into_iter().map(Planned::new).collect();
    let steps = steps(&running.probes, wanted);
    let mut errors = Vec::new();
    let begin: Vec<_> = steps.start.iter().chain(&steps.replace).map(Arc::clone).collect();
    let start =
        ReadyProbes::all(&begin).map_err(|found| errors.extend(found.iter().map(|error| error_text(error))));
    let mut asked = Vec::new();
    for one in Asked::all(full) {
        match one {
            Ok(one) => asked.push(one),
            Err(error) => errors.push(error_text(&error)),
        }
    }
    let ask = AskChange::between(&running.asked, &asked, full)
        .map_err(|found| errors.extend(found.iter().map(|error| error_text(error))));
    let (Ok(start), Ok(ask), true) = (start, ask, errors.is_empty()) else {
        errors.dedup();
        return Err(errors.join("\n"));
    };
    let change = Change {
        probes: ProbeChange { stop: steps.stop.clone(), start },
        asked: ask,
        known: Known {
            plans: steps.all.iter().map(|planned| Arc::clone(&planned.plan)).collect(),
            places: Places::of(full, &asked),
        },
    };
    let running = Running { config, rosters, probes: steps.all.clone(), asked };
    Ok(Prepared { running, expanded, steps, change })
}

/// What of a new configuration counts at once, beside what of the running one goes on. `[kernel]` is apart:
/// its thread may refuse it.
fn counting(running: &Config, new: &Config) -> Config {
    // Probes, routes and nodes are made of the agent's name and region: they go together.
    if waits_whole(running, new) {
        return running.clone();
    }
    let mut next = running.clone();
    next.probing = config::Probing { window: running.probing.window, ..new.probing };
    next.discoveries.clone_from(&new.discoveries);
    next.node_templates.clone_from(&new.node_templates);
    next.probe_templates.clone_from(&new.probe_templates);
    next.nodes.clone_from(&new.nodes);
    next.routes.clone_from(&new.routes);
    next.probes.clone_from(&new.probes);
    next
}

fn waits_whole(running: &Config, new: &Config) -> bool {
    (&running.agent.name, &running.agent.region) != (&new.agent.name, &new.agent.region)
}

/// The sections that say something else than what runs, but `[kernel]`.
fn waiting(running: &Config, new: &Config) -> Vec<String> {
    let sections = [
        ("[agent]", text(&running.agent) == text(&new.agent)),
        ("[metrics]", text(&running.metrics) == text(&new.metrics)),
        ("[admin]", text(&running.admin) == text(&new.admin)),
        ("[grpc]", text(&running.grpc) == text(&new.grpc)),
        ("[probing] window", running.probing.window == new.probing.window),
        ("[host]", text(&running.host) == text(&new.host)),
        ("[[forwarder]]", text(&running.forwarders) == text(&new.forwarders)),
    ];
    let of_probes = [
        ("[probing]", text(&running.probing) == text(&new.probing)),
        ("[[discovery]]", running.discoveries == new.discoveries),
        ("[[node]]", text(&running.nodes) == text(&new.nodes)),
        ("[[node]]", text(&running.node_templates) == text(&new.node_templates)),
        ("[[route]]", text(&running.routes) == text(&new.routes)),
        ("[[probe]]", text(&running.probes) == text(&new.probes)),
        ("[[probe]]", text(&running.probe_templates) == text(&new.probe_templates)),
    ];
    let whole = waits_whole(running, new);
    let differ = sections.into_iter().chain(of_probes.into_iter().filter(|_| whole));
    let mut names: Vec<_> = differ.filter(|(_, same)| !same).map(|(name, _)| name.to_owned()).collect();
    // Written tables and templates have one name.
    names.dedup();
    names
}

/// All that a section says.
fn text(section: &impl std::fmt::Debug) -> String {
    format!("{section:?}")
}

#[cfg(test)]
mod tests;
