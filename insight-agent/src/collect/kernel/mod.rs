//! The user half of the kernel measurements: which ones does this kernel carry, and what have they
//! counted?
//!
//! One file per measurement says what it needs; `load` finds out what is refused; [`snapshot`]
//! reads the maps. A measurement that cannot run is [`State::Disabled`] or [`State::Failed`] with
//! its reason, and never stops the others. Programs end with the [`Kernel`] that holds them.

mod attached;
pub mod btf;
pub mod cost;
pub mod entries;
pub mod examine;
mod forwarders;
pub mod hooks;
#[cfg(feature = "kernel-log")]
pub mod lines;
mod load;
mod offsets;
mod peers;
pub mod scope;
pub mod seeding;
pub mod settings;
pub mod snapshot;
pub mod sockets;
pub mod spec;

macro_rules! modules {
    ($($name:ident $kind:ident $default:ident $about:literal [$($distribution:ident)*] [$($counter:ident)*];)*) => {
        $(pub mod $name;)*
    };
}
// One module per measurement: see `insight_common::measurements`.
insight_common::measurements!(modules);

use crate::model::kernel::{KernelSnapshot, Reason, State};
use aya::Ebpf;
use aya::maps::MapError;
use entries::Walks;
use insight_common::kernel::drops::REASONS;
use insight_common::kernel::layout::{Distribution, Groups};
use insight_common::kernel::loss::Measurement;
use load::Plan;
use offsets::Offsets;
use peers::Rules;
use settings::{Forwarders, PeerGroup, Settings};
use snapshot::Reader;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Why a measurement does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Disabled or failed, with a closed reason.
    pub state: State,
    /// For people: what was attempted, on what, with which result, and what to do.
    pub detail: String,
}

/// The loaded programs and their maps. Dropping it detaches them.
#[derive(Debug)]
pub struct Kernel {
    loaded: Option<(Ebpf, Reader)>,
    problems: BTreeMap<Measurement, Problem>,
    seeding: Result<Duration, Problem>,
    rules: Rules,
}

/// What is loaded.
struct Loaded {
    ebpf: Ebpf,
    reader: Reader,
    seeding: Result<Duration, Problem>,
}

impl Kernel {
    /// Loads and attaches what `settings` asks for and this kernel carries. Blocks for about a
    /// quarter of a second: not for an async worker.
    ///
    /// There is no error: what does not run says why in [`Kernel::problem`].
    pub fn start(settings: &Settings) -> Self {
        let (asked, mut problems) = asked(settings);
        let mut active = asked.clone();
        match prepare(settings, &mut active, &mut problems) {
            Ok(Some(Loaded { ebpf, reader, seeding })) => {
                Self { loaded: Some((ebpf, reader)), problems, seeding, rules: Rules::of(&settings.peers) }
            }
            Ok(None) => {
                let seeding = Err(seeding::idle(&asked, &problems));
                Self { loaded: None, problems, seeding, rules: Rules::default() }
            }
            // Nothing can run: one reason for all.
            Err(problem) => Self::without(settings, &problem),
        }
    }

    /// Nothing runs: what is asked for, for one reason, and what is not, because it is not.
    pub fn without(settings: &Settings, problem: &Problem) -> Self {
        let (asked, mut problems) = asked(settings);
        problems.extend(asked.iter().map(|measurement| (*measurement, problem.clone())));
        let seeding = Err(seeding::idle(&asked, &problems));
        Self { loaded: None, problems, seeding, rules: Rules::default() }
    }

    /// Nothing is asked for, for a reason of the configuration's, in words.
    pub fn off(detail: &str) -> Self {
        let problem = Problem { state: State::Disabled(Reason::Off), detail: detail.to_owned() };
        let problems = spec::ALL.iter().map(|spec| (spec.measurement, problem.clone())).collect();
        Self { loaded: None, problems, seeding: Err(problem), rules: Rules::default() }
    }

    /// Replaces the processes that forward: workers come and go. The number of forwarders stays.
    ///
    /// # Errors
    /// There are more than the maps hold (64, with 8,192 threads); those that fit are measured.
    pub fn set_forwarders(&mut self, forwarders: &Forwarders) -> Result<(), MapError> {
        let Some((ebpf, _)) = &mut self.loaded else { return Ok(()) };
        forwarders::follow(ebpf, forwarders)
    }

    /// Replaces the addresses of the peer groups, whose number and names stay. Connections that are open
    /// stay where they are.
    ///
    /// # Errors
    /// There are more than the map holds (4,096); those that fit count.
    pub fn set_peers(&mut self, peers: &[PeerGroup]) -> Result<(), MapError> {
        let Some((ebpf, _)) = &mut self.loaded else { return Ok(()) };
        self.rules.set(ebpf, peers)
    }

    /// Whether a measurement runs.
    pub fn state(&self, measurement: Measurement) -> State {
        self.problems.get(&measurement).map_or(State::Active, |problem| problem.state)
    }

    /// Why a measurement does not run. **None**: it does.
    pub fn problem(&self, measurement: Measurement) -> Option<&Problem> {
        self.problems.get(&measurement)
    }

    /// How long it took to enter the sockets that were open before.
    ///
    /// # Errors
    /// They are not measured, or not all of them; those that open later are.
    pub fn seeding(&self) -> Result<Duration, &Problem> {
        self.seeding.as_ref().copied()
    }

    /// Why the entries of the table of sockets are not counted. **None**: they are, or nothing runs.
    pub fn uncounted(&self) -> Option<&Problem> {
        self.loaded.as_ref().and_then(|(_, reader)| reader.walks_problem())
    }

    /// Everything counted so far. **None**: nothing runs, or the maps cannot be read.
    pub fn snapshot(&self) -> Option<KernelSnapshot> {
        let mut snapshot = self.loaded.as_ref().and_then(|(_, reader)| reader.read().ok())?;
        snapshot.programs = self.costs();
        Some(snapshot)
    }

    /// The loaded object. **None**: nothing runs.
    fn ebpf(&self) -> Option<&Ebpf> {
        self.loaded.as_ref().map(|(ebpf, _)| ebpf)
    }
}

/// What shall run, and why the others shall not: it is no fault of the host's that these do not.
fn asked(settings: &Settings) -> (BTreeSet<Measurement>, BTreeMap<Measurement, Problem>) {
    let mut asked = BTreeSet::new();
    let mut others = BTreeMap::new();
    for spec in spec::ALL {
        let name = spec.measurement.name();
        let place = settings.devices.iter().find_map(|device| device.place);
        let (reason, detail) = if !settings.measurements.contains(&spec.measurement) {
            (Reason::Off, format!("{name}: not configured"))
        } else if spec.needs_forwarder && settings.forwarders.is_none() {
            (Reason::NoForwarder, format!("{name}: not configured"))
        } else if needs_device(spec.measurement) && place.is_none() {
            (Reason::NoDevice, format!("{name}: find {}", settings::nowhere(&settings.devices)))
        } else {
            asked.insert(spec.measurement);
            continue;
        };
        others.insert(spec.measurement, Problem { state: State::Disabled(reason), detail });
    }
    (asked, others)
}

/// Whether a measurement is of devices.
fn needs_device(measurement: Measurement) -> bool {
    let mut own = Distribution::ALL.iter().filter(|distribution| distribution.measurement() == measurement);
    own.any(|distribution| distribution.groups() == Groups::Devices)
}

/// Checks this kernel, then loads. An error is one that no measurement survives. **None**: nothing is left
/// to load.
fn prepare(
    settings: &Settings,
    active: &mut BTreeSet<Measurement>,
    problems: &mut BTreeMap<Measurement, Problem>,
) -> Result<Option<Loaded>, Problem> {
    if active.is_empty() {
        // Nothing is asked for: what this kernel lacks for it is of no interest.
        return Ok(None);
    }
    let asked = active.clone();
    let failed = |reason, detail| Problem { state: State::Failed(reason), detail };
    let no_btf = |text: String| Problem { state: State::Disabled(Reason::NoBtf), detail: text };
    let bytes = std::fs::read(btf::VMLINUX)
        .map_err(|error| no_btf(format!("read {}: {error}: kernel measurements need it", btf::VMLINUX)))?;
    let types = btf::Btf::parse(&bytes).map_err(|error| no_btf(error.to_string()))?;

    let mut offsets = Offsets::new();
    for spec in spec::ALL {
        if active.contains(&spec.measurement)
            && let Err(problem) = offsets::check(&types, spec, &mut offsets)
        {
            active.remove(&spec.measurement);
            problems.insert(spec.measurement, problem);
        }
    }
    let mut drop_classes = [0; REASONS];
    if active.contains(&Measurement::Drops) {
        match drops::resolve(&types, &settings.scope, &mut offsets) {
            Ok(classes) => drop_classes = classes,
            Err(problem) => {
                active.remove(&Measurement::Drops);
                problems.insert(Measurement::Drops, problem);
            }
        }
    }
    offsets::resolve_if_there(&types, &hooks::TCP_CLOCK, &mut offsets);
    offsets::resolve_if_there(&types, &offsets::NAMESPACE, &mut offsets);
    let seeds = seeding::check(&types, &mut offsets);
    // A scope that cannot be checked must not become the whole host.
    let scope = &settings.scope;
    let unscoped = |error: btf::BtfError| failed(Reason::MemberAbsent, format!("limit the scope: {error}"));
    if !scope.namespaces.is_empty() {
        offsets::resolve(&types, &offsets::NAMESPACE, &mut offsets).map_err(unscoped)?;
    }
    if scope.cgroup.is_some() {
        offsets::resolve(&types, &offsets::CGROUP, &mut offsets).map_err(unscoped)?;
    }
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let cgroup = match scope::cgroup(&mountinfo, scope.cgroup.as_deref()) {
        Ok(cgroup) => Some(cgroup),
        Err(error) if scope.cgroup.is_some() => return Err(failed(Reason::NoCgroup, error.to_string())),
        // Only `sock_ops` misses it, and says so when it is attached.
        Err(_) => None,
    };
    let btf =
        aya::Btf::parse(&bytes, aya::Endianness::default()).map_err(|error| no_btf(error.to_string()))?;
    let plan =
        Plan { settings, offsets: &offsets, btf: &btf, drop_classes: &drop_classes, cgroup: cgroup.as_ref() };
    let Some(mut ebpf) = load::load(&plan, active, problems) else { return Ok(None) };
    let devices = settings.devices.iter().map(|device| device.name.clone()).collect();
    let rows = load::rows(settings, active);
    let groups = (load::peers_of(settings), load::forwarders_of(settings));
    let walks = Walks::open(&mut ebpf, &btf);
    let reader = Reader::new(&mut ebpf, load::banks(), rows, groups, active.clone(), devices, walks)
        .map_err(|error| failed(Reason::Refused, format!("open the maps: {error}")))?;
    forwarders::follow(&mut ebpf, settings.forwarders.as_ref().unwrap_or(&Forwarders::default()))
        .map_err(|error| failed(Reason::Refused, format!("enter the forwarders: {error}")))?;
    // Last, when sockets that open and close are followed: nothing falls in between.
    let seeding = match active.iter().any(|measurement| seeding::serves(*measurement)) {
        true => seeds.and_then(|()| seeding::run(&mut ebpf, &btf, &settings.scope)),
        false => Err(seeding::idle(&asked, problems)),
    };
    Ok(Some(Loaded { ebpf, reader, seeding }))
}
