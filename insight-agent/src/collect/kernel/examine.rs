//! For `doctor`: what does this kernel do with each program, and what becomes of each measurement?
//!
//! Everything is really loaded and attached, and gone again when [`examine`] returns: nothing is pinned,
//! and links and programs end with their descriptors.

use super::btf::{self, Btf};
use super::hooks::{self, Hook, Place};
use super::load::{self, Plan};
use super::offsets::{self, CGROUP, NAMESPACE, Offsets};
use super::settings::Settings;
use super::spec::{self, Offset};
use super::{Kernel, Problem, attached, drops, scope, seeding, sockets};
use crate::collect::doctor::text_error;
use crate::collect::host::{Root, Source};
use crate::model::doctor::{HookFact, KernelFacts, MeasurementFact, MemberFact, MemoryFact};
use crate::model::kernel::State;
use insight_common::kernel::drops::{NO_DROP, REASONS};
use insight_common::kernel::layout::HistogramWords;
use insight_common::kernel::loss::Measurement;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// What is to be tried.
#[derive(Debug, Clone, Copy)]
pub enum Trial<'a> {
    /// Load and attach for these settings.
    Load(&'a Settings),
    /// Nothing: the configuration switches the kernel half off.
    Off,
    /// Nothing: these settings cannot be followed on this host.
    Impossible(&'a Settings, &'a Problem),
}

/// Looks at everything and tries what is to be tried; `progress` hears what comes next. Blocks for about
/// half a second.
pub fn examine(root: &Root, trial: Trial<'_>, progress: &mut dyn FnMut(&str)) -> KernelFacts {
    progress("reading the kernel's types");
    let bytes = fs::read(root.join(btf::VMLINUX)).unwrap_or_default();
    let types = Btf::parse(&bytes).ok();
    let mut facts = KernelFacts {
        hooks: hooks::all().into_iter().map(|hook| hook_fact(hook, types.as_ref())).collect(),
        missing_members: types.as_ref().map(missing_members).unwrap_or_default(),
        ..KernelFacts::default()
    };
    match trial {
        Trial::Load(settings) => {
            // Before anything of ours is loaded, so that all that is found is somebody else's.
            progress("asking for other programs");
            neighbours(root, settings, &mut facts);
            progress("loading and attaching each program");
            if let Some(types) = &types {
                try_hooks(types, &bytes, settings, &mut facts.hooks);
            }
            progress("starting the measurements as the agent does");
            let kernel = Kernel::start(settings);
            states(&kernel, &settings.measurements, &mut facts);
            let all = spec::ALL.iter().map(|spec| spec.measurement);
            let active = all.filter(|measurement| kernel.state(*measurement) == State::Active).collect();
            facts.memory = memory(&Source::new(root), settings, &active);
        }
        Trial::Off => states(&Kernel::off("kernel.enabled is false"), &[], &mut facts),
        Trial::Impossible(settings, problem) => {
            states(&Kernel::without(settings, problem), &settings.measurements, &mut facts);
        }
    }
    facts
}

// ---- what the kernel's types say ------------------------------------------------------------

fn hook_fact(hook: Hook, types: Option<&Btf<'_>>) -> HookFact {
    let tracepoint = match hook.place {
        Place::Tracepoint(name, _) => Some(name.to_owned()),
        Place::Cgroup => None,
    };
    let checked = types.filter(|_| tracepoint.is_some()).map(|types| hook.check(types));
    let users = spec::ALL.iter().filter(|spec| load::hooks_of(spec.measurement).any(|used| used == hook));
    HookFact {
        program: hook.program.to_owned(),
        tracepoint,
        in_types: checked.as_ref().map(Result::is_ok),
        attached: None,
        error: checked.and_then(Result::err).map(|error| text_error(&error.to_string())),
        measurements: users.map(|spec| spec.measurement.name().to_owned()).collect(),
    }
}

/// Every member that any part of the kernel half reads and the types lack, each once per reader.
fn missing_members(types: &Btf<'_>) -> Vec<MemberFact> {
    let measurements = spec::ALL.iter().map(|spec| (spec.measurement.name(), spec.offsets));
    let shared = (sockets::SPEC.measurement.name(), sockets::SPEC.offsets);
    let others = [shared, (seeding::NAME, &seeding::OFFSETS[..]), ("scope", &NAMESPACE), ("scope", &CGROUP)];
    let all = measurements.chain(others).flat_map(|(name, offsets)| offsets.iter().map(move |of| (name, of)));
    let is_missing = |offset: &Offset| offsets::resolve(types, &[*offset], &mut Offsets::new()).is_err();
    all.filter(|(_, offset)| is_missing(offset))
        .map(|(name, (_, structure, path))| MemberFact {
            member: format!("{structure}.{path}"),
            needed_by: name.to_owned(),
        })
        .collect()
}

// ---- what the kernel does -------------------------------------------------------------------

/// Tries each program by itself, with every measurement switched on that the types allow, so that those
/// that are off are tried too.
fn try_hooks(types: &Btf<'_>, bytes: &[u8], settings: &Settings, facts: &mut [HookFact]) {
    let mut offsets = Offsets::new();
    let possible: BTreeSet<Measurement> = spec::ALL
        .iter()
        .filter(|spec| offsets::check(types, spec, &mut offsets).is_ok())
        .map(|spec| spec.measurement)
        .collect();
    offsets::resolve_if_there(types, &hooks::TCP_CLOCK, &mut offsets);
    // What is missing for a scope is told by the measurements; these programs do not run long enough to
    // see anything.
    for scope in [&NAMESPACE[..], &CGROUP] {
        let _ = offsets::resolve(types, scope, &mut offsets);
    }
    let Ok(btf) = aya::Btf::parse(bytes, aya::Endianness::default()) else { return };
    let cgroup = cgroup(settings).ok();
    // No class is looked up by a program that is detached at once; what it reads is resolved.
    let drop_classes = drops::resolve(types, &settings.scope, &mut offsets).unwrap_or([NO_DROP; REASONS]);
    let plan =
        Plan { settings, offsets: &offsets, btf: &btf, drop_classes: &drop_classes, cgroup: cgroup.as_ref() };
    let tried = load::each(&plan, &possible);
    for (hook, fact) in hooks::all().into_iter().zip(facts).filter(|(_, fact)| fact.in_types != Some(false)) {
        let result = match &tried {
            Ok(results) => results.get(&hook).cloned().unwrap_or(Ok(())),
            Err(problem) => Err(problem.clone()),
        };
        fact.attached = Some(result.is_ok());
        fact.error = result.err().map(|problem| text_error(&problem.detail));
    }
}

fn cgroup(settings: &Settings) -> std::io::Result<scope::Cgroup> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    scope::cgroup(&mountinfo, settings.scope.cgroup.as_deref())
}

/// Who stands on our cgroup already, and which other agents are here.
fn neighbours(root: &Root, settings: &Settings, facts: &mut KernelFacts) {
    let loaded = attached::programs();
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if let Some(mount) = scope::cgroup2_mount(&mountinfo) {
        let group = settings.scope.cgroup.as_deref().unwrap_or(&mount);
        match attached::attachments(group, &mount, &loaded) {
            Ok(found) => facts.attachments = found,
            Err(error) => facts.attachments_error = Some(error),
        }
    }
    facts.other_agents = attached::other_agents(root, &loaded);
}

/// What became of the measurements and of seeding. `asked`: what the configuration asks for.
fn states(kernel: &Kernel, asked: &[Measurement], facts: &mut KernelFacts) {
    let fact = |spec: &&spec::Spec| MeasurementFact {
        asked_for: asked.contains(&spec.measurement),
        needs_forwarder: spec.needs_forwarder,
        ..state_fact(spec.measurement.name(), kernel.problem(spec.measurement))
    };
    facts.measurements = spec::ALL.iter().map(fact).collect();
    facts.seeding = Some(MeasurementFact {
        asked_for: asked.iter().any(|measurement| seeding::serves(*measurement)),
        ..state_fact(seeding::NAME, kernel.seeding().err())
    });
}

fn state_fact(name: &str, problem: Option<&Problem>) -> MeasurementFact {
    let state = problem.map_or(State::Active, |problem| problem.state);
    MeasurementFact {
        name: name.to_owned(),
        state: state.name().to_owned(),
        reason: state.reason().to_owned(),
        error: problem.map(|problem| text_error(&problem.detail)),
        ..MeasurementFact::default()
    }
}

// ---- memory ---------------------------------------------------------------------------------

/// What the maps and programs that this process has open hold, as the kernel accounts for it. **None**:
/// it has none open.
fn memory(source: &Source<'_>, settings: &Settings, active: &BTreeSet<Measurement>) -> Option<MemoryFact> {
    let mut held = BTreeMap::new();
    for name in source.names("proc/self/fdinfo") {
        let Some(text) = source.text(format!("proc/self/fdinfo/{}", name.to_string_lossy())) else {
            continue;
        };
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().parse::<u64>().ok()
        };
        // A map or a program may be open twice.
        let kinds = [("map_id", true), ("prog_id", false)];
        let kind = kinds.iter().find_map(|(key, is_map)| Some((*is_map, field(key)?)));
        if let Some((kind, bytes)) = kind.zip(field("memlock")) {
            held.insert(kind, bytes);
        }
    }
    let sum = |maps: bool| {
        let of = held.iter().filter(|((is_map, _), _)| *is_map == maps).map(|(_, bytes)| *bytes);
        of.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    };
    let ((maps, map_bytes), (programs, program_bytes)) = (sum(true), sum(false));
    let (banks, groups) = (load::banks(), load::groups_of(settings));
    let histograms_per_bank = load::rows(settings, active).per_bank();
    let histogram_bytes = u64::from(banks * histograms_per_bank) * size_of::<HistogramWords>() as u64;
    (maps > 0).then_some(MemoryFact {
        maps,
        map_bytes,
        programs,
        program_bytes,
        histogram_bytes,
        histograms_per_bank,
        banks,
        groups,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::kernel::settings::Forwarders;
    use crate::model::kernel::Reason;

    #[test]
    fn without_types_no_hook_is_known_and_nothing_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let facts = examine(&Root::new(folder.path()), Trial::Off, &mut |_| {});
        assert_eq!(facts.hooks.len(), hooks::all().len());
        assert!(facts.hooks.iter().all(|hook| hook.in_types.is_none() && hook.attached.is_none()));
        let all = || facts.measurements.iter().chain(&facts.seeding);
        assert!(all().all(|fact| (fact.reason.as_str(), fact.asked_for) == ("off", false)));
        assert_eq!((facts.measurements.len(), facts.memory), (spec::ALL.len(), None));
    }

    #[test]
    fn every_hook_names_the_measurements_that_need_it() {
        for (hook, fact) in hooks::all().into_iter().map(|hook| (hook, hook_fact(hook, None))) {
            assert!(!fact.measurements.is_empty(), "{hook:?} is of no use");
        }
    }

    #[test]
    fn a_configuration_that_cannot_be_followed_fails_what_it_asks_for_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::Failed(Reason::NoNamespace);
        let problem = Problem { state, detail: "look up: No such file or directory (os error 2)".into() };
        let all = Settings { forwarders: Some(Forwarders::default()), ..Settings::default() };
        let measurements =
            all.measurements.iter().copied().filter(|it| *it != Measurement::Connect).collect();
        let settings = Settings { measurements, ..all };
        let trial = Trial::Impossible(&settings, &problem);
        let facts = examine(&Root::new(folder.path()), trial, &mut |_| {});
        for fact in facts.measurements.iter().chain(&facts.seeding) {
            let expected = match fact.name.as_str() {
                "connect" => ("disabled", "off"),
                "qdisc_wait" => ("disabled", "no_device"),
                _ => ("failed", "no_namespace"),
            };
            assert_eq!((fact.state.as_str(), fact.reason.as_str()), expected, "{}", fact.name);
            let errno = fact.error.as_ref().unwrap().errno.as_ref();
            assert_eq!(errno.map(|errno| errno.name.as_str()), (expected.0 == "failed").then_some("ENOENT"));
        }
    }

    #[test]
    fn locked_memory_is_summed_over_maps_and_programs_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let fds = folder.path().join("proc/self/fdinfo");
        fs::create_dir_all(&fds).unwrap();
        let write = |fd: u32, text: &str| fs::write(fds.join(fd.to_string()), text).unwrap();
        let on = BTreeSet::from([Measurement::SocketRtt, Measurement::SoftirqWait]);
        write(0, "pos:\t0\nflags:\t02\n");
        assert_eq!(memory(&Source::new(&Root::new(folder.path())), &Settings::default(), &on), None);
        write(5, "map_type:\t1\nmemlock:\t4096\nmap_id:\t7\n");
        write(6, "map_type:\t1\nmemlock:\t4096\nmap_id:\t7\n");
        write(7, "map_type:\t1\nmemlock:\t100\nmap_id:\t8\n");
        write(8, "prog_type:\t26\nmemlock:\t8192\nprog_id:\t7\n");
        let found = memory(&Source::new(&Root::new(folder.path())), &Settings::default(), &on).unwrap();
        assert_eq!((found.maps, found.map_bytes), (2, 4_196));
        assert_eq!((found.programs, found.program_bytes), (1, 8_192));
        assert_eq!(found.histograms_per_bank, 2 + 5, "of what is on");
        assert_eq!(found.histogram_bytes, u64::from(found.banks * 7) * size_of::<HistogramWords>() as u64);
    }
}
