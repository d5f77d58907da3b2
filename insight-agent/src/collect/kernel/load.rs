//! Loads and attaches the object; finds out which measurement a kernel refuses.

use super::hooks::{self, Hook, Place};
use super::offsets::Offsets;
use super::scope::Cgroup;
use super::settings::Settings;
use super::{Problem, drops, peers, sockets, spec};
use crate::model::kernel::{Reason, State};
use aya::maps::{Array, HashMap};
use aya::programs::links::CgroupAttachMode;
use aya::programs::{BtfTracePoint, ProgramError, SockOps};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfLoader};
use insight_common::kernel::layout::{
    COUNTERS, Groups, MAX_BANKS, MAX_DEVICES, MAX_FORWARDERS, MAX_GROUPS, MAX_PEERS, Rows, device_key,
};
use insight_common::kernel::loss::Measurement;
use insight_common::kernel::turn::PAIR_COUNTERS;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// The kernel half, as committed: users need no compiler for it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../insight-ebpf/prebuilt/insight.bpf.o"
));

/// What is loaded.
fn object() -> Cow<'static, [u8]> {
    #[cfg(feature = "kernel-log")]
    if let Some(object) = super::lines::object() {
        return Cow::Owned(object);
    }
    Cow::Borrowed(OBJECT)
}

/// A program that the kernel did not take, and why.
#[derive(Debug)]
struct Refused {
    /// **None**: the maps could not be made, so no measurement can run.
    hook: Option<Hook>,
    problem: Problem,
}

/// What is loaded the same way however often it is tried.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What was asked for.
    pub settings: &'a Settings,
    /// Of this kernel.
    pub offsets: &'a Offsets,
    /// Of this kernel, as aya wants it.
    pub btf: &'a aya::Btf,
    /// The class of each reason for a drop.
    pub drop_classes: &'a drops::Classes,
    /// What `sock_ops` is attached to. **None**: no cgroup is there, and nothing needs one.
    pub cgroup: Option<&'a Cgroup>,
}

/// Peer groups, the one for everybody else included.
pub fn peers_of(settings: &Settings) -> u32 {
    (settings.peers.len() as u32 + 1).min(MAX_PEERS)
}

/// Forwarders, the one that stands for nobody included.
pub fn forwarders_of(settings: &Settings) -> u32 {
    settings.forwarders.as_ref().map_or(0, |forwarders| forwarders.count).min(MAX_FORWARDERS) + 1
}

/// Groups of connections.
pub fn groups_of(settings: &Settings) -> u32 {
    (forwarders_of(settings) * peers_of(settings)).min(MAX_GROUPS)
}

/// Where histograms lie, of what `active` measures and of nothing else: they are most of what the maps take.
pub fn rows(settings: &Settings, active: &BTreeSet<Measurement>) -> Rows {
    Rows::new(|distribution| match distribution.groups() {
        _ if !active.contains(&distribution.measurement()) => 0,
        Groups::Peers => groups_of(settings),
        // The first device is group 1.
        Groups::Devices => settings.devices.len().min(MAX_DEVICES as usize) as u32 + 1,
        Groups::Forwarders => forwarders_of(settings),
        Groups::Whole => 1,
    })
}

/// Since when a program is left out where it is at work already.
const ONE_AT_A_TIME: KernelVersion = KernelVersion::new(6, 1, 0);

/// Banks of histograms on this machine: a power of two, as the programs want it.
pub fn banks() -> u32 {
    cpu_numbers().map_or(MAX_BANKS, |numbers| numbers.next_power_of_two().clamp(1, MAX_BANKS))
}

/// Whether two programs may add to one bank at the same time: CPUs share it, or the kernel is older than 6.1
/// and lets a program begin where it is at work already.
fn are_banks_shared() -> bool {
    let is_old = KernelVersion::current().map_or(true, |version| version < ONE_AT_A_TIME);
    is_old || cpu_numbers().is_none_or(|numbers| numbers > MAX_BANKS)
}

/// How many numbers CPUs can have here, those that may come later included. **None**: not known.
fn cpu_numbers() -> Option<u32> {
    let ranges = std::fs::read_to_string("/sys/devices/system/cpu/possible").ok()?;
    let last = ranges.trim_end().rsplit([',', '-']).next()?;
    last.parse::<u32>().ok()?.checked_add(1)
}

/// Loads and attaches everything that `active` needs. A measurement that the kernel refuses leaves
/// `active` and enters `problems`; the others stay. **None**: nothing is left.
pub fn load(
    plan: &Plan<'_>,
    active: &mut BTreeSet<Measurement>,
    problems: &mut BTreeMap<Measurement, Problem>,
) -> Option<Ebpf> {
    settle(active, problems, |measurements| attempt(plan, measurements))
}

/// Tries until what is left loads.
fn settle<T>(
    active: &mut BTreeSet<Measurement>,
    problems: &mut BTreeMap<Measurement, Problem>,
    attempt: impl Fn(&BTreeSet<Measurement>) -> Result<T, Refused>,
) -> Option<T> {
    while !active.is_empty() {
        let refused = match attempt(active) {
            Ok(loaded) => return Some(loaded),
            Err(refused) => refused,
        };
        for culprit in culprits(active, &refused, &attempt) {
            active.remove(&culprit);
            problems.insert(culprit, refused.problem.clone());
        }
    }
    None
}

/// Whom to switch off: the one measurement without which the program loads, else all that need it.
fn culprits<T>(
    active: &BTreeSet<Measurement>,
    refused: &Refused,
    attempt: impl Fn(&BTreeSet<Measurement>) -> Result<T, Refused>,
) -> Vec<Measurement> {
    let everyone: Vec<_> = active.iter().copied().collect();
    let Some(hook) = refused.hook else { return everyone };
    let needs = |measurement: &Measurement| hooks_of(*measurement).any(|used| used == hook);
    let users: Vec<_> = everyone.iter().copied().filter(needs).collect();
    if users.is_empty() {
        return everyone;
    }
    // What may not be loaded may not be loaded with less in it either.
    if users.len() == 1 || problem_is_permission(&refused.problem) {
        return users;
    }
    let loads_without = |suspect: &Measurement| {
        let mut others = active.clone();
        others.remove(suspect);
        // Another hook's refusal is another culprit's: it is looked for in the next round.
        attempt(&others).map_or_else(|again| again.hook.is_some_and(|other| other != hook), |_| true)
    };
    users.iter().copied().find(loads_without).map_or(users, |culprit| vec![culprit])
}

fn problem_is_permission(problem: &Problem) -> bool {
    problem.state == State::Failed(Reason::Permission)
}

/// The programs that a measurement needs, those of the socket table among them.
pub fn hooks_of(measurement: Measurement) -> impl Iterator<Item = Hook> {
    let own = spec::ALL.iter().find(|spec| spec.measurement == measurement);
    own.into_iter().flat_map(|spec| spec.hooks).chain(sockets::SPEC.hooks).copied()
}

/// One try with exactly these measurements switched on.
fn attempt(plan: &Plan<'_>, active: &BTreeSet<Measurement>) -> Result<Ebpf, Refused> {
    let mut ebpf = open(plan, active).map_err(|problem| Refused { hook: None, problem })?;
    let wanted: BTreeSet<Hook> = active.iter().flat_map(|measurement| hooks_of(*measurement)).collect();
    // All are loaded before the first is attached: a refusal leaves no half of a measurement.
    for (attach, hook) in
        wanted.iter().map(|hook| (false, *hook)).chain(wanted.iter().map(|hook| (true, *hook)))
    {
        run(&mut ebpf, plan, hook, attach).map_err(|problem| Refused { hook: Some(hook), problem })?;
    }
    Ok(ebpf)
}

/// Loads and attaches each program by itself, whatever becomes of the others, with exactly these
/// measurements switched on. All are gone again when this returns.
///
/// # Errors
/// The maps could not be made, so no program was tried.
pub fn each(
    plan: &Plan<'_>,
    measurements: &BTreeSet<Measurement>,
) -> Result<BTreeMap<Hook, Result<(), Problem>>, Problem> {
    let mut ebpf = open(plan, measurements)?;
    let mut tried = |hook| {
        let loaded = run(&mut ebpf, plan, hook, false);
        (hook, loaded.and_then(|()| run(&mut ebpf, plan, hook, true)))
    };
    Ok(hooks::all().into_iter().map(&mut tried).collect())
}

/// Makes the maps and fills them; no program is loaded yet.
fn open(plan: &Plan<'_>, active: &BTreeSet<Measurement>) -> Result<Ebpf, Problem> {
    let whole = |error: &(dyn std::error::Error + 'static)| {
        problem_of("load the kernel half", error, permission_in(error))
    };
    let settings = plan.settings;
    let (peers, groups) = (peers_of(settings), groups_of(settings));
    let (banks, rows) = (banks(), rows(settings, active));
    let per_bank = rows.per_bank();
    let shared_banks = u8::from(are_banks_shared());
    let on: u64 = active.iter().map(|measurement| 1 << *measurement as u64).sum();
    let netns = u8::from(!settings.scope.namespaces.is_empty());
    let scope = plan.cgroup.filter(|_| settings.scope.cgroup.is_some());
    let (id, level) = scope.map_or((0, 0), |cgroup| (cgroup.id, cgroup.level));
    let http2 = u8::from(settings.http2);
    let forwarders_only = u8::from(settings.forwarders.is_some());

    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(plan.btf))
        // No map is empty, also where nothing that is on has a distribution.
        .map_max_entries("HISTOGRAMS", (banks * per_bank).max(1))
        .map_max_entries("FLOORS", 2 * groups)
        .map_max_entries("COUNTS", COUNTERS * groups)
        .map_max_entries("PAIRS", PAIR_COUNTERS * forwarders_of(settings))
        .override_global("PEERS", &peers, true)
        .override_global("ON", &on, true)
        .override_global("GROUPS", &groups, true)
        .override_global("BANKS", &banks, true)
        .override_global("PER_BANK", &per_bank, true)
        .override_global("HISTOGRAM_ROWS", &rows.words()[..], true)
        .override_global("SHARED_BANKS", &shared_banks, true)
        .override_global("SKIP_EXCHANGES", &settings.skip_exchanges, true)
        .override_global("SAMPLE_ONE_IN", &settings.sample_one_in, true)
        .override_global("HTTP2", &http2, true)
        .override_global("FORWARDERS_ONLY", &forwarders_only, true)
        .override_global("SCOPE_NETNS", &netns, true)
        .override_global("SCOPE_CGROUP", &id, true)
        .override_global("SCOPE_CGROUP_LEVEL", &level, true);
    for (name, value) in plan.offsets {
        loader.override_global(name, value, true);
    }
    let mut ebpf = loader.load(&object()).map_err(|error| whole(&error))?;
    fill(&mut ebpf, plan).map_err(|error| whole(&error))?;
    Ok(ebpf)
}

/// Writes what the programs look up: namespaces, peer rules, devices, classes of drops.
fn fill(ebpf: &mut Ebpf, plan: &Plan<'_>) -> Result<(), aya::maps::MapError> {
    let settings = plan.settings;
    let absent = |name: &str| aya::maps::MapError::InvalidName { name: name.to_owned() };
    let map = ebpf.map_mut("NAMESPACES").ok_or_else(|| absent("NAMESPACES"))?;
    let mut map: HashMap<_, u32, u8> = HashMap::try_from(map)?;
    for namespace in &settings.scope.namespaces {
        map.insert(namespace, 1, 0)?;
    }
    peers::Rules::default().set(ebpf, &settings.peers)?;
    let map = ebpf.map_mut("DEVICES").ok_or_else(|| absent("DEVICES"))?;
    let mut map: HashMap<_, u64, u8> = HashMap::try_from(map)?;
    for (at, device) in settings.devices.iter().take(MAX_DEVICES as usize).enumerate() {
        if let Some((namespace, index)) = device.place {
            map.insert(device_key(namespace, index), at as u8 + 1, 0)?;
        }
    }
    let map = ebpf.map_mut("DROP_CLASS").ok_or_else(|| absent("DROP_CLASS"))?;
    let mut map: Array<_, u8> = Array::try_from(map)?;
    for (reason, class) in plan.drop_classes.iter().enumerate() {
        map.set(reason as u32, class, 0)?;
    }
    Ok(())
}

/// Loads or attaches one program.
fn run(ebpf: &mut Ebpf, plan: &Plan<'_>, hook: Hook, attach: bool) -> Result<(), Problem> {
    let name = hook.program;
    let what = format!("{} program {name}", if attach { "attach" } else { "load" });
    let problem = |error: ProgramError| {
        let permission = matches!(&error, ProgramError::LoadError { io_error, verifier_log }
            if io_error.raw_os_error() == Some(libc::EPERM) && verifier_log.to_string().is_empty());
        problem_of(&what, &error, permission)
    };
    let absent = || problem_of(&what, &ProgramError::NotLoaded, false);
    let program = ebpf.program_mut(name).ok_or_else(absent)?;
    match (hook.place, attach) {
        (Place::Tracepoint(tracepoint, _), false) => {
            let program: &mut BtfTracePoint = program.try_into().map_err(problem)?;
            program.load(tracepoint, plan.btf).map_err(problem)
        }
        (Place::Tracepoint(..), true) => {
            let program: &mut BtfTracePoint = program.try_into().map_err(problem)?;
            program.attach().map(drop).map_err(problem)
        }
        (Place::Cgroup, false) => {
            let program: &mut SockOps = program.try_into().map_err(problem)?;
            program.load().map_err(problem)
        }
        (Place::Cgroup, true) => {
            let program: &mut SockOps = program.try_into().map_err(problem)?;
            let cgroup = plan.cgroup.ok_or_else(|| Problem {
                state: State::Failed(Reason::NoCgroup),
                detail: format!("{what}: there is no cgroup to attach to"),
            })?;
            // A link takes no flags, and links of several agents live side by side without any.
            program.attach(&cgroup.folder, CgroupAttachMode::Single).map(drop).map_err(problem)
        }
    }
}

/// Whether an error while maps are made is for want of a capability.
fn permission_in(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.raw_os_error() == Some(libc::EPERM)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// What a refusal says for people.
pub fn problem_of(what: &str, error: &dyn std::error::Error, permission: bool) -> Problem {
    let mut detail = format!("{what}: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        detail += &format!(": {error}");
        source = error.source();
    }
    if permission {
        detail += ": grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, or disable kernel measurements";
    }
    let reason = if permission { Reason::Permission } else { Reason::Refused };
    Problem { state: State::Failed(reason), detail }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::collect::kernel::hooks;
    use crate::collect::kernel::settings::{Device, Forwarders, PeerGroup};
    use insight_common::kernel::layout::{DISTRIBUTIONS, Distribution};

    #[test]
    fn histograms_are_of_what_is_on_for_the_groups_that_it_has() {
        let peers = vec![PeerGroup::default(); 3];
        let devices = vec![Device { name: "eth0".into(), place: None }];
        let settings = Settings { peers, devices, ..Settings::default() };
        let groups = |on: &[Measurement]| {
            let rows = rows(&settings, &on.iter().copied().collect());
            let each = Distribution::ALL.map(|distribution| rows.row(distribution).groups());
            assert_eq!(rows.per_bank(), each.iter().sum::<u32>());
            each.into_iter().filter(|groups| *groups > 0).collect::<Vec<_>>()
        };
        assert_eq!(groups(&[Measurement::SocketRtt]), [4, 4]);
        assert_eq!(groups(&[Measurement::SoftirqWait]), [1; 5]);
        assert_eq!(groups(&[Measurement::QdiscWait, Measurement::RunqueueWait]), [1, 2, 2]);
        assert_eq!(groups(&[Measurement::Resets, Measurement::Drops]), [0; 0]);
        assert_eq!(groups(&Measurement::ALL).len(), DISTRIBUTIONS as usize);
        // Nobody's and those of two forwarders.
        let settings = Settings {
            forwarders: Some(Forwarders { count: 2, ..Forwarders::default() }),
            ..settings.clone()
        };
        let on = BTreeSet::from([Measurement::SocketRtt, Measurement::RunqueueWait]);
        let rows = rows(&settings, &on);
        let each = Distribution::ALL.map(|distribution| rows.row(distribution).groups());
        assert_eq!(each.into_iter().filter(|groups| *groups > 0).collect::<Vec<_>>(), [12, 12, 3]);
    }

    /// The object with its maps and no program loaded, and the kernel's types. None: it has none.
    pub fn bare() -> Option<(Ebpf, aya::Btf)> {
        let btf = aya::Btf::from_sys_fs().ok()?;
        let loaded = EbpfLoader::new().btf(Some(&btf)).load(&object());
        Some((loaded.unwrap(), btf))
    }

    fn refusal(hook: Option<Hook>, reason: Reason) -> Refused {
        Refused { hook, problem: Problem { state: State::Failed(reason), detail: "injected".into() } }
    }

    fn all_but(off: &[Measurement]) -> Vec<Measurement> {
        Measurement::ALL[1..].iter().copied().filter(|measurement| !off.contains(measurement)).collect()
    }

    /// What is left, and what was switched off, where `attempt` stands for the kernel.
    fn settled(
        attempt: impl Fn(&BTreeSet<Measurement>) -> Result<(), Refused>,
    ) -> (Vec<Measurement>, Vec<Measurement>) {
        let mut active: BTreeSet<_> = Measurement::ALL[1..].iter().copied().collect();
        let mut problems = BTreeMap::new();
        let loaded = settle(&mut active, &mut problems, attempt);
        assert_eq!(loaded.is_some(), !active.is_empty());
        (active.into_iter().collect(), problems.into_keys().collect())
    }

    #[test]
    fn one_culprit_does_not_take_along_those_that_share_its_hook() {
        let (left, off) = settled(|on| match on.contains(&Measurement::Residence) {
            true => Err(refusal(Some(hooks::SEND), Reason::Refused)),
            false => Ok(()),
        });
        assert_eq!(off, [Measurement::Residence]);
        assert_eq!(left.len(), Measurement::ALL.len() - 2);
    }

    #[test]
    fn two_culprits_on_two_hooks_are_both_found() {
        let (left, off) = settled(|on| {
            if on.contains(&Measurement::SocketRtt) {
                Err(refusal(Some(hooks::TCP_EVENT), Reason::Refused))
            } else if on.contains(&Measurement::Turnaround) {
                Err(refusal(Some(hooks::DATA_READY), Reason::Refused))
            } else {
                Ok(())
            }
        });
        assert_eq!(off, [Measurement::SocketRtt, Measurement::Turnaround]);
        assert_eq!(left, all_but(&off));
    }

    #[test]
    fn a_hook_that_never_loads_takes_all_its_users() {
        let needs = |measurement: &Measurement| hooks_of(*measurement).any(|hook| hook == hooks::DATA_READY);
        let users: Vec<_> = Measurement::ALL[1..].iter().copied().filter(needs).collect();
        assert!(users.contains(&Measurement::Turnaround), "{users:?}");
        let (left, off) = settled(|on| match users.iter().any(|user| on.contains(user)) {
            true => Err(refusal(Some(hooks::DATA_READY), Reason::Refused)),
            false => Ok(()),
        });
        assert_eq!((left, off), (all_but(&users), users));
    }

    #[test]
    fn without_maps_or_without_the_table_nothing_runs() {
        for hook in [None, Some(hooks::SOCKET_STATE)] {
            let (left, off) = settled(|_| Err(refusal(hook, Reason::Permission)));
            assert_eq!((left.len(), off.len()), (0, Measurement::ALL.len() - 1), "{hook:?}");
        }
    }
}
