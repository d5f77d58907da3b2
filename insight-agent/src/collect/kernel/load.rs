//! Loads and attaches the object; finds out which measurement a kernel refuses.

use super::hooks::Hook;
use super::offsets::Offsets;
use super::scope::Cgroup;
use super::settings::Settings;
use super::{Problem, peers, sockets, spec};
use crate::model::kernel::{Reason, State};
use aya::maps::HashMap;
use aya::programs::links::CgroupAttachMode;
use aya::programs::{BtfTracePoint, ProgramError, SockOps};
use aya::{Ebpf, EbpfLoader};
use insight_common::kernel::layout::{DISTRIBUTIONS, MAX_BANKS, MAX_PEERS};
use insight_common::kernel::loss::Measurement;
use std::collections::{BTreeMap, BTreeSet};

/// The kernel half, as committed: users need no compiler for it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../insight-ebpf/prebuilt/insight.bpf.o"
));

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
    /// What `sock_ops` is attached to. **None**: no cgroup is there, and nothing needs one.
    pub cgroup: Option<&'a Cgroup>,
}

/// Peer groups, the one for everybody else included.
pub fn peers_of(settings: &Settings) -> u32 {
    (settings.peers.len() as u32 + 1).min(MAX_PEERS)
}

/// Banks of histograms on this machine.
pub fn banks() -> u32 {
    aya::util::nr_cpus().map_or(MAX_BANKS, |cpus| (cpus as u32).clamp(1, MAX_BANKS))
}

/// Loads and attaches everything that `active` needs. A measurement that the kernel refuses leaves
/// `active` and enters `problems`; the others stay. **None**: nothing is left.
pub fn load(
    plan: &Plan<'_>,
    active: &mut BTreeSet<Measurement>,
    problems: &mut BTreeMap<Measurement, Problem>,
) -> Option<Ebpf> {
    while !active.is_empty() {
        let refused = match attempt(plan, active) {
            Ok(ebpf) => return Some(ebpf),
            Err(refused) => refused,
        };
        for culprit in culprits(plan, active, &refused) {
            active.remove(&culprit);
            problems.insert(culprit, refused.problem.clone());
        }
    }
    None
}

/// Whom to switch off: the one measurement without which the program loads, else all that need it.
fn culprits(plan: &Plan<'_>, active: &BTreeSet<Measurement>, refused: &Refused) -> Vec<Measurement> {
    let everyone: Vec<_> = active.iter().copied().collect();
    let Some(hook) = refused.hook else { return everyone };
    let users: Vec<_> = everyone
        .iter()
        .copied()
        .filter(|measurement| hooks_of(*measurement).any(|used| used == hook))
        .collect();
    if users.len() < 2 || problem_is_permission(&refused.problem) {
        return if users.is_empty() { everyone } else { users };
    }
    let loads_without = |suspect: &Measurement| {
        let others: BTreeSet<_> = active.iter().copied().filter(|other| other != suspect).collect();
        !matches!(attempt(plan, &others), Err(Refused { hook: again, .. }) if again == Some(hook) || again.is_none())
    };
    users.iter().copied().find(loads_without).map_or(users.clone(), |culprit| vec![culprit])
}

fn problem_is_permission(problem: &Problem) -> bool {
    problem.state == State::Failed(Reason::Permission)
}

fn hooks_of(measurement: Measurement) -> impl Iterator<Item = Hook> {
    let own = spec::ALL.iter().find(|spec| spec.measurement == measurement);
    own.into_iter().flat_map(|spec| spec.hooks).chain(sockets::SPEC.hooks).copied()
}

/// One try with exactly these measurements switched on.
fn attempt(plan: &Plan<'_>, active: &BTreeSet<Measurement>) -> Result<Ebpf, Refused> {
    let whole = |error: &(dyn std::error::Error + 'static)| Refused {
        hook: None,
        problem: problem_of("load the kernel half", error, permission_in(error)),
    };
    let settings = plan.settings;
    let (peers, banks) = (peers_of(settings), banks());
    let on: Vec<(&str, u8)> =
        spec::ALL.iter().map(|spec| (spec.switch, u8::from(active.contains(&spec.measurement)))).collect();
    let netns = u8::from(!settings.scope.namespaces.is_empty());
    let scope = plan.cgroup.filter(|_| settings.scope.cgroup.is_some());
    let (id, level) = scope.map_or((0, 0), |cgroup| (cgroup.id, cgroup.level));
    let http2 = u8::from(settings.http2);

    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(plan.btf))
        .map_max_entries("HISTOGRAMS", banks * DISTRIBUTIONS * peers)
        .map_max_entries("FLOORS", 2 * peers)
        .override_global("PEERS", &peers, true)
        .override_global("BANKS", &banks, true)
        .override_global("SKIP_EXCHANGES", &settings.skip_exchanges, true)
        .override_global("HTTP2", &http2, true)
        .override_global("SCOPE_NETNS", &netns, true)
        .override_global("SCOPE_CGROUP", &id, true)
        .override_global("SCOPE_CGROUP_LEVEL", &level, true);
    for (name, value) in &on {
        loader.override_global(name, value, true);
    }
    for (name, value) in plan.offsets {
        loader.override_global(name, value, true);
    }
    let mut ebpf = loader.load(OBJECT).map_err(|error| whole(&error))?;
    fill(&mut ebpf, settings).map_err(|error| whole(&error))?;

    let wanted: BTreeSet<Hook> = active.iter().flat_map(|measurement| hooks_of(*measurement)).collect();
    // All are loaded before the first is attached: a refusal leaves no half of a measurement.
    for (attach, hook) in
        wanted.iter().map(|hook| (false, *hook)).chain(wanted.iter().map(|hook| (true, *hook)))
    {
        run(&mut ebpf, plan, hook, attach).map_err(|problem| Refused { hook: Some(hook), problem })?;
    }
    Ok(ebpf)
}

/// Writes what the programs look up: namespaces, forwarders, peer rules.
fn fill(ebpf: &mut Ebpf, settings: &Settings) -> Result<(), aya::maps::MapError> {
    let absent = |name: &str| aya::maps::MapError::InvalidName { name: name.to_owned() };
    for (name, keys) in [("NAMESPACES", &settings.scope.namespaces), ("FORWARDERS", &settings.forwarders)] {
        let map = ebpf.map_mut(name).ok_or_else(|| absent(name))?;
        let mut map: HashMap<_, u32, u8> = HashMap::try_from(map)?;
        for key in keys {
            map.insert(key, 1, 0)?;
        }
    }
    let map = ebpf.map_mut("PEER_RULES").ok_or_else(|| absent("PEER_RULES"))?;
    let mut map = aya::maps::lpm_trie::LpmTrie::try_from(map)?;
    for (group, peer) in settings.peers.iter().take(MAX_PEERS as usize - 1).enumerate() {
        for key in peers::keys(peer) {
            map.insert(&key, group as u8 + 1, 0)?;
        }
    }
    Ok(())
}

/// Loads or attaches one program.
fn run(ebpf: &mut Ebpf, plan: &Plan<'_>, hook: Hook, attach: bool) -> Result<(), Problem> {
    let name = hook.program();
    let what = format!("{} program {name}", if attach { "attach" } else { "load" });
    let problem = |error: ProgramError| {
        let permission = matches!(&error, ProgramError::LoadError { io_error, verifier_log }
            if io_error.raw_os_error() == Some(libc::EPERM) && verifier_log.to_string().is_empty());
        problem_of(&what, &error, permission)
    };
    let absent = || problem_of(&what, &ProgramError::NotLoaded, false);
    let program = ebpf.program_mut(name).ok_or_else(absent)?;
    match (hook.tracepoint(), attach) {
        (Some((tracepoint, _)), false) => {
            let program: &mut BtfTracePoint = program.try_into().map_err(problem)?;
            program.load(tracepoint, plan.btf).map_err(problem)
        }
        (Some(_), true) => {
            let program: &mut BtfTracePoint = program.try_into().map_err(problem)?;
            program.attach().map(drop).map_err(problem)
        }
        (None, false) => {
            let program: &mut SockOps = program.try_into().map_err(problem)?;
            program.load().map_err(problem)
        }
        (None, true) => {
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

fn problem_of(what: &str, error: &dyn std::error::Error, permission: bool) -> Problem {
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
