//! The thread that loads the kernel programs and reads their maps.
//!
//! Loading takes a quarter of a second and reading some milliseconds of system calls, so neither
//! is for an async worker. The programs end with the thread.

use super::peers::Hosts;
use super::privileges::Privileges;
use super::report::{Floors, OwnReport};
use super::worker::Worker;
use crate::collect::host::{Root, detect};
use crate::collect::kernel::settings::{Device, Forwarders, PeerGroup, Scope, Settings};
use crate::collect::kernel::{Kernel, Problem, seeding, spec};
use crate::config;
use crate::model::host::Selector;
use crate::model::kernel::{KernelSnapshot, Reason, State};
use crate::model::series::kernel::Names;
use crate::model::series::lost::Loss;
use crate::model::status::{MeasurementState, MeasurementStatus};
use crate::publish::metrics::Metrics;
use insight_common::kernel::loss::Measurement;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the maps are read. A report is of the last reading, so this is how old its figures may
/// be when somebody asks: half of the shortest window. Half of it would only cost; the kernel's own
/// limit, eight seconds of minima, is far.
const PERIOD: Duration = Duration::from_millis(500);

/// Reads between two looks for new workers of the forwarders.
const LOOK_EVERY: u32 = 10;

/// Processes that the kernel half has room for.
const MAX_PIDS: usize = 64;

/// States as of the last start, empty before it.
pub(super) type States = Arc<Mutex<Vec<MeasurementStatus>>>;

/// Starts the thread; stopping it detaches the programs, and blocks until they are gone. What comes over
/// `changes` takes the place of what is configured. **None**: kernel measurements are off.
///
/// # Errors
/// The system refused a thread.
pub(super) fn start(
    config: &config::Config,
    metrics: Arc<Metrics>,
    states: States,
    own: Arc<OwnReport>,
    privileges: Privileges,
    changes: Receiver<config::Kernel>,
) -> std::io::Result<Option<Worker>> {
    if !config.kernel.enabled {
        let off = states_of(&Kernel::off("kernel.enabled is false"), &config.agent.name);
        *states.lock().unwrap_or_else(PoisonError::into_inner) = off;
        return Ok(None);
    }
    let (mut wanted, node) = (config.kernel.clone(), config.agent.name.clone());
    let (selectors, names) = (config.forwarders.clone(), config.kernel_names());
    let work = move |stopped: Receiver<()>| {
        let asked = wanted.measurements.clone();
        let mut watch = Watch { own, metrics, states, node, names, asked, asked_to_stop: false };
        let mut loaded = load(&wanted, &selectors, &watch.metrics);
        privileges.keep_reading(wanted.reloadable, || loaded.kernel.snapshot().is_some());
        while let Some(new) = watch.measure(&wanted, &selectors, &mut loaded, &stopped, &changes) {
            wanted = new;
            tracing::info!("kernel measurements begin anew");
            drop(loaded);
            watch.own.begin_anew();
            loaded = privileges.with_loading(|| load(&wanted, &selectors, &watch.metrics));
        }
        watch.asked_to_stop = true;
    };
    Worker::spawn("kernel", work).map(Some)
}

/// Loads what is wanted on this host now.
fn load(wanted: &config::Kernel, selectors: &[Selector], metrics: &Arc<Metrics>) -> Loaded {
    let hosts = Hosts::start(&wanted.peers, metrics).unwrap_or_else(|error| {
        tracing::warn!("kernel.peer: look hosts up: start a thread: {error}");
        None
    });
    let kernel = if wanted.enabled {
        let (settings, problem) =
            settings(wanted, groups(wanted, hosts.as_ref()), forwarders(selectors, metrics));
        problem.map_or_else(|| Kernel::start(&settings), |problem| Kernel::without(&settings, &problem))
    } else {
        // By a new file.
        Kernel::off("kernel.enabled is false")
    };
    Loaded { kernel, hosts }
}

/// What runs, and whom it follows.
struct Loaded {
    kernel: Kernel,
    hosts: Option<Hosts>,
}

impl Watch {
    /// Reads the maps until the agent stops, which gives **None**, or something else is wanted.
    fn measure(
        &self,
        wanted: &config::Kernel,
        selectors: &[Selector],
        loaded: &mut Loaded,
        stopped: &Receiver<()>,
        changes: &Receiver<config::Kernel>,
    ) -> Option<config::Kernel> {
        let found = states_of(&loaded.kernel, &self.node);
        for state in found.iter().filter(|state| state.state == MeasurementState::Failed) {
            tracing::warn!(measurement = state.name, reason = state.reason, "{}", state.detail);
        }
        if let Some(problem) = loaded.kernel.uncounted() {
            tracing::warn!(reason = problem.state.reason(), "{}", problem.detail);
        }
        *self.states.lock().unwrap_or_else(PoisonError::into_inner) = found;
        let mut floors = Floors::default();
        let mut reads = 0_u32;
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PERIOD) {
            if let Some(new) = changes.try_iter().last() {
                return Some(new);
            }
            reads = reads.wrapping_add(1);
            if reads.is_multiple_of(LOOK_EVERY) {
                self.follow(wanted, selectors, loaded);
            }
            let before = Instant::now();
            if let Some(snapshot) = loaded.kernel.snapshot() {
                let at = before + before.elapsed() / 2;
                floors.gather(&snapshot, self.own.clock());
                self.metrics.publish_kernel(snapshot.clone(), &self.names);
                self.own.keep(at, snapshot, floors.clone());
            }
        }
        None
    }

    /// Forwarders that came and went, and addresses that hosts of peer groups have now.
    fn follow(&self, wanted: &config::Kernel, selectors: &[Selector], loaded: &mut Loaded) {
        let Loaded { kernel, hosts } = loaded;
        if let Some(found) = forwarders(selectors, &self.metrics)
            && let Err(error) = kernel.set_forwarders(&found)
        {
            tracing::warn!("follow {} processes of the forwarders: {error}", found.processes.len());
        }
        if hosts.is_some()
            && let Err(error) = kernel.set_peers(&groups(wanted, hosts.as_ref()))
        {
            tracing::warn!("follow the addresses of peer groups: {error}");
        }
    }
}

/// Notices that the thread ends although nobody asked it to, which only a panic can bring about:
/// what it measured has then stopped, and must not look idle.
struct Watch {
    own: Arc<OwnReport>,
    metrics: Arc<Metrics>,
    states: States,
    node: String,
    names: Names,
    /// Measurements that are loaded first: it may end before it can tell what became of them.
    asked: Vec<Measurement>,
    asked_to_stop: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.asked_to_stop {
            return;
        }
        tracing::error!("the kernel thread ended unexpectedly: kernel measurements have stopped");
        self.own.forget_kernel();
        self.metrics.publish_kernel(KernelSnapshot::default(), &self.names);
        let problem = Problem {
            state: State::Failed(Reason::Stopped),
            detail: "the thread that reads the kernel's maps ended: see the log, and restart the agent"
                .into(),
        };
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if states.is_empty() {
            // It ended while it was loading them. Whom they would have measured is not known here.
            let asked = Settings {
                measurements: self.asked.clone(),
                forwarders: Some(Forwarders::default()),
                ..Settings::default()
            };
            *states = states_of(&Kernel::without(&asked, &problem), &self.node);
            return;
        }
        for state in states.iter_mut().filter(|state| state.state == MeasurementState::Active) {
            let name = std::mem::take(&mut state.name);
            *state = status_of(&self.node, &name, Some(&problem));
        }
    }
}

/// Processes of the forwarders, as many as there is room for; the others are a loss, at each look
/// again. **None**: no forwarder is configured.
fn forwarders(selectors: &[Selector], metrics: &Metrics) -> Option<Forwarders> {
    if selectors.is_empty() {
        return None;
    }
    let mut found = Forwarders::of(&detect(&Root::default(), selectors).pids);
    let surplus = found.processes.len().saturating_sub(MAX_PIDS);
    if surplus > 0 {
        metrics.lost("residence", Loss::Capped, surplus as u64);
        found.processes = found.processes.into_iter().take(MAX_PIDS).collect();
    }
    Some(found)
}

/// The peer groups, with what their hosts have now.
fn groups(wanted: &config::Kernel, hosts: Option<&Hosts>) -> Vec<PeerGroup> {
    let configured = wanted.peers.iter().map(|peer| PeerGroup {
        name: peer.name.clone(),
        networks: peer.networks.clone(),
        ports: peer.ports.clone(),
    });
    let mut groups: Vec<_> = configured.collect();
    if let Some(hosts) = hosts {
        hosts.add_to(&wanted.peers, &mut groups);
    }
    groups
}

/// What the configuration means on this host, now; and, if it cannot be followed here, why: a network
/// namespace of the scope is not there. `peers`: with what is known of their hosts.
fn settings(
    wanted: &config::Kernel,
    peers: Vec<PeerGroup>,
    forwarders: Option<Forwarders>,
) -> (Settings, Option<Problem>) {
    let namespaces = wanted.scope_namespaces.iter().map(|path| {
        // The number of a namespace's inode has 32 bits in the kernel.
        std::fs::metadata(path).map(|metadata| metadata.ino() as u32).map_err(|error| Problem {
            state: State::Failed(Reason::NoNamespace),
            detail: format!("look up the scope's namespace {}: {error}", path.display()),
        })
    });
    let (namespaces, problem) = match namespaces.collect::<Result<_, _>>() {
        Ok(namespaces) => (namespaces, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    let settings = Settings {
        measurements: wanted.measurements.clone(),
        scope: Scope {
            namespaces,
            namespace_paths: wanted.scope_namespaces.clone(),
            cgroup: wanted.scope_cgroup.clone(),
        },
        peers,
        forwarders,
        devices: wanted.devices.iter().map(|name| device(name)).collect(),
        skip_exchanges: wanted.skip_exchanges,
        sample_one_in: wanted.sample_one_in,
        http2: wanted.http2,
    };
    (settings, problem)
}

/// What the configuration means on this host, now, with those addresses of peer groups that it has itself;
/// and, if it cannot be followed here, why.
pub fn configured(wanted: &config::Kernel, forwarders: Option<Forwarders>) -> (Settings, Option<Problem>) {
    settings(wanted, groups(wanted, None), forwarders)
}

/// A configured device. One that is not there is not measured, also if it comes later.
fn device(name: &str) -> Device {
    let device = Device::find(name);
    if device.place.is_none() {
        tracing::warn!(
            "kernel.devices: {name}: no such device in this network namespace: it is not measured"
        );
    }
    device
}

/// Every measurement's state, and that of the seeding, without which they begin at sockets that
/// open from now on.
fn states_of(kernel: &Kernel, node: &str) -> Vec<MeasurementStatus> {
    let measurements =
        spec::ALL.iter().map(|spec| (spec.measurement.name(), kernel.problem(spec.measurement)));
    let all = measurements.chain([(seeding::NAME, kernel.seeding().err())]);
    all.map(|(name, problem)| status_of(node, name, problem)).collect()
}

/// One state. **`problem`**: why it does not run; none if it does.
fn status_of(node: &str, name: &str, problem: Option<&Problem>) -> MeasurementStatus {
    let state = problem.map_or(State::Active, |problem| problem.state);
    MeasurementStatus {
        node: node.to_owned(),
        name: name.to_owned(),
        state: match state {
            State::Active => MeasurementState::Active,
            State::Disabled(_) => MeasurementState::Disabled,
            State::Failed(_) => MeasurementState::Failed,
        },
        reason: state.reason().to_owned(),
        detail: problem.map_or_else(String::new, |problem| problem.detail.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::AgentClock;
    use crate::publish::metrics::AgentLabels;

    const CONFIG: &str = "[agent]\nregion = \"eu\"\nname = \"mediary-a\"\n[kernel]\nenabled = true\n";

    /// What is known after a thread with these states has ended.
    fn states_after(found: Vec<MeasurementStatus>, end: impl FnOnce(&mut Watch) + Send + 'static) -> States {
        let config = config::Config::parse(CONFIG, "insight.toml").unwrap().config;
        let labels = AgentLabels { name: "mediary-a".into(), region: "eu".into(), version: "0".into() };
        let metrics = Arc::new(Metrics::new(&labels, Duration::from_secs(1), &[]));
        let states = States::new(Mutex::new(found));
        let clock = AgentClock::start();
        let own = {
            let host = Arc::new(crate::agent::host::HostView::new(&config));
            OwnReport::new(&config, clock, Arc::clone(&metrics), Arc::clone(&states), host).unwrap()
        };
        let mut watch = Watch {
            own: Arc::new(own),
            metrics,
            states: Arc::clone(&states),
            node: "mediary-a".into(),
            names: Names::default(),
            asked: vec![Measurement::Connect],
            asked_to_stop: false,
        };
        let thread = std::thread::spawn(move || end(&mut watch));
        let _ = thread.join();
        states
    }

    fn state(name: &str, state: MeasurementState, reason: &str) -> MeasurementStatus {
        let (node, detail) = ("mediary-a".into(), String::new());
        MeasurementStatus { node, name: name.into(), state, reason: reason.into(), detail }
    }

    #[test]
    fn a_reader_that_panics_leaves_its_measurements_failed_and_others_as_they_were() {
        let found = vec![
            state("socket_rtt", MeasurementState::Active, ""),
            state("residence", MeasurementState::Disabled, "no_forwarder"),
        ];
        let states = states_after(found.clone(), |_| panic!("as it may"));
        let states = states.lock().unwrap();
        assert_eq!((states[0].state, states[0].reason.as_str()), (MeasurementState::Failed, "stopped"));
        assert!(states[0].detail.contains("restart"), "{}", states[0].detail);
        assert_eq!(states[1], found[1]);
        let while_loading = states_after(vec![], |_| panic!("as it may"));
        let while_loading = while_loading.lock().unwrap();
        assert_eq!(while_loading.len(), spec::ALL.len() + 1, "and the seeding");
        for state in while_loading.iter() {
            let asked = ["connect", seeding::NAME].contains(&state.name.as_str());
            let expected = if asked { "stopped" } else { "off" };
            assert_eq!(state.reason, expected, "{}", state.name);
        }
    }

    #[test]
    fn a_reader_that_was_asked_to_stop_leaves_them_as_they_were() {
        let found = vec![state("socket_rtt", MeasurementState::Active, "")];
        let states = states_after(found.clone(), |watch| watch.asked_to_stop = true);
        assert_eq!(*states.lock().unwrap(), found);
    }
}
