//! What becomes of each measurement: off where nobody asks for it, failed only where somebody does.

use crate::agent::{Running, free_port, states};
use insight_agent::collect::kernel::settings::{Device, Forwarders, Settings};
use insight_agent::collect::kernel::{Kernel, Problem, btf, seeding, spec};
use insight_agent::model::kernel::{Reason, State};
use insight_common::kernel::loss::Measurement;
use insight_lab::skip::{SkipReason, skip};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the test is about.
fn asked_for(measurements: &[Measurement]) -> Settings {
    Settings { measurements: measurements.to_vec(), ..Settings::default() }
}

/// Everything, on a host where everything can be measured.
fn everything() -> Settings {
    let devices = vec![Device::find("lo")];
    Settings { forwarders: Some(Forwarders::one(&[])), devices, ..Settings::default() }
}

/// What runs unless the configuration says otherwise.
fn default_set() -> Vec<Measurement> {
    Measurement::ALL[1..].iter().copied().filter(|measurement| measurement.is_default()).collect()
}

/// Every measurement's state, and that of seeding.
fn states_of(kernel: &Kernel) -> BTreeMap<&'static str, State> {
    let seeding = kernel.seeding().map_or_else(|problem| problem.state, |_| State::Active);
    let all = spec::ALL.iter().map(|spec| (spec.measurement.name(), kernel.state(spec.measurement)));
    all.chain([(seeding::NAME, seeding)]).collect()
}

/// What is loaded by a thread without any capability.
fn powerless(settings: &Settings) -> Kernel {
    std::thread::scope(|threads| {
        let thread = threads.spawn(|| {
            let own = capabilities(None).unwrap();
            let none = CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { effective: none, permitted: none, ..own }).unwrap();
            Kernel::start(settings)
        });
        thread.join().unwrap()
    })
}

/// The states in `kernel` are `expected` for the named ones and `others` for the rest.
#[track_caller]
fn assert_states(kernel: &Kernel, expected: &[(&[&str], State)], others: State) {
    for (name, found) in states_of(kernel) {
        let listed = expected.iter().find(|(names, _)| names.contains(&name));
        assert_eq!(found, listed.map_or(others, |(_, state)| *state), "{name}");
    }
}

const OFF: State = State::Disabled(Reason::Off);
const FORBIDDEN: State = State::Failed(Reason::Permission);

/// Whether this kernel tells its types, without which nothing gets as far as to be forbidden.
fn has_types(name: &str) -> bool {
    let has = Path::new(btf::VMLINUX).exists();
    if !has {
        skip(name, SkipReason::Impossible("this kernel has no types"));
    }
    has
}

#[test]
fn without_capabilities_what_is_asked_for_is_forbidden_and_the_rest_is_off() {
    if !has_types("without_capabilities_what_is_asked_for_is_forbidden_and_the_rest_is_off") {
        return;
    }
    let kernel = powerless(&everything());
    assert_states(&kernel, &[], FORBIDDEN);
    let detail = &kernel.seeding().unwrap_err().detail;
    assert!(detail.contains("CAP_BPF"), "{detail}");

    let kernel = powerless(&asked_for(&default_set()));
    let off = ["send_blocked", "drops", "softirq_wait", "qdisc_wait"];
    let nobody_forwards = State::Disabled(Reason::NoForwarder);
    assert_states(&kernel, &[(&off, OFF), (&["residence", "runqueue_wait"], nobody_forwards)], FORBIDDEN);

    let kernel = powerless(&asked_for(&[Measurement::Connect]));
    assert_states(&kernel, &[(&["connect", seeding::NAME], FORBIDDEN)], OFF);

    // Of no socket: nothing to seed, and nothing that was refused.
    let kernel = powerless(&asked_for(&[Measurement::SoftirqWait]));
    assert_states(&kernel, &[(&["softirq_wait"], FORBIDDEN)], OFF);

    assert_states(&powerless(&asked_for(&[])), &[], OFF);
    assert_states(&Kernel::off("off"), &[], OFF);
}

#[test]
fn with_capabilities_what_is_asked_for_runs_and_the_rest_is_off() {
    let name = "with_capabilities_what_is_asked_for_runs_and_the_rest_is_off";
    if !nix::unistd::Uid::effective().is_root() {
        skip(name, SkipReason::Missing("loading programs into the kernel needs root"));
        return;
    }
    let kernel = Kernel::start(&asked_for(&[Measurement::Connect]));
    if matches!(states_of(&kernel)[seeding::NAME], State::Disabled(Reason::HookAbsent | Reason::NoBtf)) {
        skip(name, SkipReason::Impossible(&kernel.seeding().unwrap_err().detail));
        return;
    }
    assert_states(&kernel, &[(&["connect", seeding::NAME], State::Active)], OFF);
    drop(kernel);
    let kernel = Kernel::start(&asked_for(&[Measurement::SoftirqWait]));
    assert_states(&kernel, &[(&["softirq_wait"], State::Active)], OFF);
    drop(kernel);
    // A measurement that cannot be as it is configured is no reason to seed.
    let kernel = Kernel::start(&asked_for(&[Measurement::Residence]));
    assert_states(&kernel, &[(&["residence"], State::Disabled(Reason::NoForwarder))], OFF);
}

#[test]
fn a_scope_that_is_not_there_fails_what_is_asked_for_and_the_rest_is_off() {
    let state = State::Failed(Reason::NoNamespace);
    let problem = Problem { state, detail: "look up".into() };
    let kernel = Kernel::without(&asked_for(&default_set()), &problem);
    let off = ["send_blocked", "drops", "softirq_wait", "qdisc_wait"];
    let nobody_forwards = State::Disabled(Reason::NoForwarder);
    assert_states(&kernel, &[(&off, OFF), (&["residence", "runqueue_wait"], nobody_forwards)], state);
}

#[test]
fn an_agent_whose_kernel_half_is_off_says_so_of_every_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("insight.toml");
    let (metrics, admin, grpc) = (free_port(), free_port(), free_port());
    let text = format!(
        "[agent]\nregion = \"eu\"\nname = \"node\"\n[probing]\nwindow = \"1s\"\n\
         [metrics]\nlisten = \"127.0.0.1:{metrics}\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
         [grpc]\nlisten = \"127.0.0.1:{grpc}\"\n[kernel]\nenabled = false\n"
    );
    std::fs::write(&file, text).unwrap();
    let _agent = Running::start(&file);
    let deadline = Instant::now() + Duration::from_secs(30);
    let found = loop {
        let found = states(metrics);
        if found.contains_key(seeding::NAME) {
            break found;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    for name in spec::ALL.iter().map(|spec| spec.measurement.name()).chain([seeding::NAME]) {
        assert_eq!(found[name], ("disabled".to_owned(), "off".to_owned()), "{name}");
    }
}
