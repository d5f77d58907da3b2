//! The thread that reads the host, and what the rest of the agent sees of it.
//!
//! A reading is some milliseconds of small files, and much more on a host with many threads, so it
//! is not for an async worker.

use super::privileges::Privileges;
use super::report::{HostTotals, Series};
use super::worker::Worker;
use crate::collect::host::{HostReader, HostSettings, NODE_EXPORTER_PORT, Root, node_exporter};
use crate::config::Config;
use crate::model::host::{ForwarderSnapshot, HostSnapshot};
use crate::model::status::{ForwarderStatus, MeasurementState, MeasurementStatus};
use crate::publish::metrics::Metrics;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often somebody else's exporter is looked for: it is started by people, and a look costs as
/// much as one for forwarders.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Name of the half in measurement states.
const HOST: &str = "host";

// ---- what is seen ---------------------------------------------------------------------------

/// What the rest of the agent sees of the host.
pub(super) struct HostView {
    node: String,
    /// Names of the configured forwarders.
    forwarders: Vec<String>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    before: Option<Arc<HostSnapshot>>,
    last: Option<Arc<HostSnapshot>>,
    totals: HostTotals,
    /// **None**: not read yet.
    state: Option<MeasurementStatus>,
    /// Somebody else who exports the same.
    duplicate: Option<String>,
}

impl HostView {
    /// Nothing read yet.
    pub(super) fn new(config: &Config) -> Self {
        let view = Self {
            node: config.agent.name.clone(),
            forwarders: config.forwarders.iter().map(|forwarder| forwarder.name.clone()).collect(),
            seen: Mutex::default(),
        };
        if !config.host.enabled {
            let off = view.state(HOST, MeasurementState::Disabled, "off", "host.enabled is false");
            view.seen().state = Some(off);
        }
        view
    }

    /// The host half's state; beside it, if there is one, the exporter that shows the same as this
    /// agent. Empty before the first reading.
    pub(super) fn states(&self) -> Vec<MeasurementStatus> {
        let seen = self.seen();
        let duplicate = seen.duplicate.as_ref().map(|found| {
            let detail = format!("{found}: {DUPLICATE_ADVICE}");
            self.state("node_exporter", MeasurementState::Failed, "duplicate", &detail)
        });
        seen.state.iter().cloned().chain(duplicate).collect()
    }

    /// The forwarders' series of a report.
    pub(super) fn series(&self) -> Series {
        self.seen().totals.series()
    }

    /// Every configured forwarder as of `now`.
    pub(super) fn forwarders(&self, now: Instant) -> Vec<ForwarderStatus> {
        let (before, last) = {
            let seen = self.seen();
            (seen.before.clone(), seen.last.clone())
        };
        let last = last.filter(|last| last.is_fresh(now));
        let of = |snapshot: &Option<Arc<HostSnapshot>>, name: &str| {
            let all = snapshot.iter().flat_map(|snapshot| &snapshot.forwarders);
            all.into_iter().find(|forwarder| forwarder.name == name).cloned()
        };
        let between = before.as_ref().zip(last.as_ref());
        let length = between.map(|(before, last)| last.taken.saturating_duration_since(before.taken));
        let all = self.forwarders.iter().map(|name| match of(&last, name) {
            Some(now) => status(of(&before, name).as_ref(), &now, length),
            None => ForwarderStatus { name: name.clone(), ..ForwarderStatus::default() },
        });
        all.collect()
    }

    fn take(&self, snapshot: Arc<HostSnapshot>) {
        let state = match &snapshot.cpus {
            Some(_) => self.state(HOST, MeasurementState::Active, "", ""),
            None => {
                let detail = "read /proc/stat: it is not there, or it makes no sense";
                self.state(HOST, MeasurementState::Failed, "unreadable", detail)
            }
        };
        let mut seen = self.seen();
        seen.totals.add(&snapshot);
        seen.before = seen.last.replace(snapshot);
        seen.state = Some(state);
    }

    /// Remembers who exports the same; tells whether that is news.
    fn find_duplicate(&self, found: Option<String>) -> bool {
        let mut seen = self.seen();
        let is_new = found.is_some() && seen.duplicate.is_none();
        seen.duplicate = found;
        is_new
    }

    /// Nobody reads the host any more: its figures would stand still and look idle.
    fn forget(&self) {
        let detail = "the thread that reads the host ended: see the log, and restart the agent";
        let stopped = self.state(HOST, MeasurementState::Failed, "stopped", detail);
        *self.seen() = Seen { state: Some(stopped), ..Seen::default() };
    }

    fn state(&self, name: &str, state: MeasurementState, reason: &str, detail: &str) -> MeasurementStatus {
        let (node, name) = (self.node.clone(), name.to_owned());
        MeasurementStatus { node, name, state, reason: reason.to_owned(), detail: detail.to_owned() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic of the reading thread ends in `forget`, which replaces everything.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to do about two exporters of one host.
pub const DUPLICATE_ADVICE: &str = "sums over its node_* families and this agent's would double; set \
                                    host.node_metrics = false here, or stop it";

/// `length`: the time between the two readings.
fn status(
    before: Option<&ForwarderSnapshot>,
    now: &ForwarderSnapshot,
    length: Option<Duration>,
) -> ForwarderStatus {
    let share = |of: fn(&ForwarderSnapshot) -> Option<Duration>| {
        let since = of(now)?.saturating_sub(of(before?)?);
        let length = length.filter(|length| !length.is_zero())?;
        Some(since.as_secs_f64() / length.as_secs_f64())
    };
    ForwarderStatus {
        name: now.name.clone(),
        pids: Some(now.pids.clone()),
        allowed_cpus: now.allowed_cpus.as_ref().map(|cpus| cpus.iter().copied().collect()),
        busy_share: now.allowed_busy,
        throttled_share: share(|of| Some(of.cgroup?.throttled)),
        run_delay_share: share(|of| of.totals?.run_delay),
        threads: Some(now.threads.len() as u64),
    }
}

// ---- the thread -----------------------------------------------------------------------------

/// Starts the thread. **None**: the host is not to be read.
///
/// # Errors
/// The system refused a thread.
pub(super) fn start(
    config: &Config,
    metrics: Arc<Metrics>,
    view: Arc<HostView>,
    privileges: Privileges,
) -> std::io::Result<Option<Worker>> {
    let wanted = config.host;
    if !wanted.enabled {
        return Ok(None);
    }
    let selectors = config.forwarders.clone();
    let settings = HostSettings { selectors, node_metrics: wanted.node_metrics, period: wanted.period };
    let own = [config.metrics.listen, config.admin.listen, config.grpc.listen];
    let by_port = own.iter().all(|address| address.port() != NODE_EXPORTER_PORT);
    let work = move |stopped: Receiver<()>| {
        privileges.keep_watching();
        let mut watch = Watch { view, asked_to_stop: false };
        let mut reader = HostReader::new(Root::default(), settings);
        let mut looked: Option<Instant> = None;
        let mut due = Instant::now();
        loop {
            let now = Instant::now();
            let snapshot = Arc::new(reader.read(now));
            metrics.publish_host(Arc::clone(&snapshot));
            watch.view.take(snapshot);
            let is_due = looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_EVERY);
            if wanted.node_metrics && is_due {
                looked = Some(now);
                let found = node_exporter(&Root::default(), by_port);
                if watch.view.find_duplicate(found.clone()) {
                    tracing::warn!("{}: {DUPLICATE_ADVICE}", found.unwrap_or_default());
                }
            }
            // At an even pace; what took longer than a period is not caught up with.
            due = (due + wanted.period).max(Instant::now());
            match stopped.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => break,
            }
        }
        watch.asked_to_stop = true;
    };
    Worker::spawn("host", work).map(Some)
}

/// Notices that the thread ends although nobody asked it to, which only a panic can bring about.
struct Watch {
    view: Arc<HostView>,
    asked_to_stop: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.asked_to_stop {
            tracing::error!("the host thread ended unexpectedly: the host is not read any more");
            self.view.forget();
        }
    }
}

#[cfg(test)]
mod tests;
