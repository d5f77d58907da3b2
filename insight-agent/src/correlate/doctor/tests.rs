//! Machines that lack something, and what is said of them.

use super::{Asked, diagnose};
use crate::model::doctor::*;

/// A machine on which everything works: two measurements, one on a tracepoint, one on a cgroup.
fn healthy() -> Facts {
    let hook = |program: &str, tracepoint: Option<&str>, measurement: &str| HookFact {
        program: program.into(),
        tracepoint: tracepoint.map(str::to_owned),
        in_types: tracepoint.map(|_| true),
        attached: Some(true),
        error: None,
        measurements: vec![measurement.into()],
    };
    let measurement = |name: &str| MeasurementFact {
        name: name.into(),
        asked_for: true,
        state: "active".into(),
        ..MeasurementFact::default()
    };
    Facts {
        system: SystemFacts {
            release: Some("6.12.1".into()),
            machine: "x86_64".into(),
            btf: BtfFact { bytes: Some(5_000_000), error: None },
            bpf_jit_enable: Some(1),
            bpf_stats_enabled: Some(0),
            pressure: true,
            cgroup2_mount: Some("/sys/fs/cgroup".into()),
            ..SystemFacts::default()
        },
        process: ProcessFacts {
            uid: Some(0),
            capabilities: Some(vec!["CAP_SYS_ADMIN".into(), "CAP_SYS_PTRACE".into()]),
            pid_namespace: Namespace::Host,
            network_namespace: Namespace::Host,
            user_namespace: Namespace::Host,
            ..ProcessFacts::default()
        },
        kernel: KernelFacts {
            hooks: vec![hook("reads", Some("data_in"), "waits"), hook("events", None, "trips")],
            measurements: vec![measurement("waits"), measurement("trips")],
            seeding: Some(measurement("seeding")),
            memory: Some(MemoryFact { maps: 2, map_bytes: 6 << 20, ..MemoryFact::default() }),
            ..KernelFacts::default()
        },
        ..Facts::default()
    }
}

fn asked() -> Asked {
    Asked { configured: true, kernel: true, node_metrics: true, ..Asked::default() }
}

/// The check of this name on a machine that was changed so, with the configuration changed so.
fn of(name: &str, change: impl FnOnce(&mut Facts, &mut Asked)) -> Check {
    let (mut facts, mut asked) = (healthy(), asked());
    change(&mut facts, &mut asked);
    let all = diagnose(&facts, &asked);
    all.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no {name} in {all:#?}")).clone()
}

#[track_caller]
fn assert_says(check: &Check, status: Status, found: &str, advice: &str) {
    let said = check.advice.as_deref().unwrap_or_default();
    let is_said = check.status == status && check.found.contains(found) && said.contains(advice);
    assert!(is_said, "{check:#?} is not {status:?} with {found:?} and {advice:?}");
}

fn refused(errno: &str, number: i32, text: &str) -> Option<SystemError> {
    Some(SystemError { errno: Some(Errno { name: errno.into(), number }), text: text.into() })
}

/// A measurement ended so.
fn ended(fact: &mut MeasurementFact, state: &str, reason: &str) {
    (fact.state, fact.reason) = (state.into(), reason.into());
}

#[test]
fn a_machine_that_has_everything_has_nothing_to_warn_of() {
    let all = diagnose(&healthy(), &asked());
    let other: Vec<_> = all.iter().filter(|check| check.status != Status::Ok).collect();
    assert!(other.is_empty(), "{other:#?}");
}

#[test]
fn missing_types_are_told_with_their_error_and_the_mount_that_helps() {
    let absent = |facts: &mut Facts| {
        let error = refused("ENOENT", 2, "read /sys/kernel/btf/vmlinux: No such file or directory");
        facts.system.btf = BtfFact { bytes: None, error };
        ended(&mut facts.kernel.measurements[0], "disabled", "no_btf");
    };
    let check = of("btf", |facts, _| absent(facts));
    assert_says(&check, Status::Failing, "ENOENT (2): read /sys", "/sys/kernel/btf");
    assert_says(&of("waits", |facts, _| absent(facts)), Status::Failing, "disabled (no_btf)", "btf above");
    let off = of("btf", |facts, asked| {
        absent(facts);
        asked.kernel = false;
    });
    assert_eq!(off.status, Status::Warning, "nobody asks for what needs it");
}

#[test]
fn confidentiality_fails_what_is_on_tracepoints_and_integrity_nothing() {
    let level = |level: &str| {
        let level = level.to_owned();
        of("lockdown", |facts, _| facts.system.lockdown = Some(level))
    };
    assert_says(&level("confidentiality"), Status::Failing, "refused", "lockdown=integrity");
    assert_eq!((level("integrity").status, level("none").status), (Status::Ok, Status::Ok));
    let check = of("lockdown", |facts, _| {
        facts.system.lockdown = Some("confidentiality".into());
        facts.kernel.measurements[0].asked_for = false;
    });
    assert_eq!(check.status, Status::Warning, "what is on a cgroup still loads");
}

#[test]
fn without_cgroup2_only_what_is_attached_there_is_lost() {
    let check = of("cgroup2", |facts, _| facts.system.cgroup2_mount = None);
    assert_says(&check, Status::Failing, "nowhere to attach for trips", "mount -t cgroup2");
    let check = of("cgroup2", |facts, _| {
        facts.system.cgroup2_mount = None;
        facts.kernel.measurements[1].asked_for = false;
    });
    assert_eq!(check.status, Status::Warning);
}

#[test]
fn each_missing_capability_says_what_is_lost() {
    let with = |name: &str, has: &[&str]| {
        let has = has.iter().map(|name| (*name).to_owned()).collect();
        of(name, |facts, _| facts.process.capabilities = Some(has))
    };
    assert_says(&with("CAP_BPF", &[]), Status::Failing, "all kernel measurements", "capabilities.add: [BPF]");
    assert_says(&with("CAP_NET_ADMIN", &["CAP_BPF"]), Status::Failing, "lost: trips", "NET_ADMIN");
    assert_says(&with("CAP_BPF", &["CAP_BPF"]), Status::Ok, "effective", "");
    assert_says(&with("CAP_PERFMON", &["CAP_SYS_ADMIN"]), Status::Ok, "CAP_SYS_ADMIN replaces it", "");
    let off = of("CAP_BPF", |facts, asked| {
        facts.process.capabilities = Some(vec![]);
        asked.kernel = false;
    });
    assert_eq!(off.status, Status::Off);
    let old = of("CAP_BPF", |facts, _| {
        facts.system.release = Some("5.4.0".into());
        facts.process.capabilities = Some(vec!["CAP_BPF".into()]);
    });
    assert_says(&old, Status::Failing, "before 5.8", "CAP_SYS_ADMIN");
}

#[test]
fn a_forwarder_that_is_looked_for_by_its_port_takes_two_capabilities() {
    let with = |name: &str, has: &[&str], criteria: &str| {
        let has = has.iter().map(|name| (*name).to_owned()).collect();
        let forwarder = ForwarderFact {
            name: "some".into(),
            criteria: criteria.into(),
            configured: true,
            pids: vec![],
            threads: 0,
        };
        of(name, move |facts, _| {
            facts.process.capabilities = Some(has);
            facts.forwarders = vec![forwarder];
        })
    };
    let (links, folder, port) = ("CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "port = 443");
    for (name, other) in [(links, folder), (folder, links)] {
        assert_says(&with(name, &[other], port), Status::Warning, "by their port", "AmbientCapabilities");
        assert_eq!(with(name, &[name], port).status, Status::Ok);
        assert_eq!(with(name, &[], "unit = \"nginx\"").status, Status::Ok);
    }
    assert_eq!(with(folder, &["CAP_DAC_OVERRIDE"], port).status, Status::Ok, "it is wider");
}

#[test]
fn locked_memory_matters_before_it_is_accounted_to_the_group() {
    let with = |name: &str, release: &str| {
        let release = release.to_owned();
        of(name, |facts, _| {
            facts.system.release = Some(release);
            facts.process.memlock_limit_bytes = Some(65_536);
        })
    };
    assert_eq!(with("CAP_SYS_RESOURCE", "5.11.0").status, Status::Ok);
    assert_says(&with("CAP_SYS_RESOURCE", "5.10.0"), Status::Warning, "before 5.11", "LimitMEMLOCK");
    assert_says(
        &with("memlock_limit", "5.10.0"),
        Status::Warning,
        "64.0 KiB, below the 6.0 MiB",
        "LimitMEMLOCK",
    );
}

#[test]
fn a_groups_memory_limit_must_hold_maps_and_agent() {
    let with = |bytes| {
        let file = "/sys/fs/cgroup/pod/memory.max".into();
        of("memory_limit", move |facts, _| facts.process.memory_limit = Some(MemoryLimit { bytes, file }))
    };
    assert_eq!(with(128 << 20).status, Status::Ok);
    assert_says(&with(32 << 20), Status::Warning, "hold 6.0 MiB", "raise the limit to 64.0 MiB");
}

#[test]
fn in_a_container_forwarders_are_lost_and_the_keys_are_named() {
    let nginx = ForwarderFact {
        name: "nginx".into(),
        criteria: "process = \"nginx\"".into(),
        configured: true,
        pids: vec![41],
        threads: 1,
    };
    let container = |facts: &mut Facts| facts.process.pid_namespace = Namespace::Other;
    let check = of("pid_namespace", |facts, _| container(facts));
    assert_says(&check, Status::Warning, "container", "hostPID: true");
    let check = of("pid_namespace", |facts, _| {
        container(facts);
        facts.forwarders.push(nginx);
    });
    assert_eq!(check.status, Status::Failing, "its process ids are other ones to the kernel");
    let check = of("network_namespace", |facts, _| facts.process.network_namespace = Namespace::Other);
    assert_says(&check, Status::Warning, "listeners", "hostNetwork: true");
    let check = of("user_namespace", |facts, _| facts.process.user_namespace = Namespace::Other);
    assert_says(&check, Status::Failing, "do not count", "hostUsers");
}

#[test]
fn a_refused_program_is_told_with_its_number_and_fails_what_needs_it() {
    let refuse = |facts: &mut Facts| {
        let error =
            refused("EPERM", 1, "load program reads: no: Operation not permitted: grant CAP_BPF, or not");
        facts.kernel.hooks[0].attached = Some(false);
        facts.kernel.hooks[0].error.clone_from(&error);
        ended(&mut facts.kernel.measurements[0], "failed", "permission");
        facts.kernel.measurements[0].error = error;
    };
    let hook = of("data_in", |facts, _| refuse(facts));
    assert_says(&hook, Status::Failing, "in BTF; not attached: EPERM (1); for waits", "seccomp");
    assert_eq!(hook.detail.as_deref(), Some("load program reads: no: Operation not permitted"));
    let measurement = of("waits", |facts, _| refuse(facts));
    assert_says(&measurement, Status::Failing, "failed (permission): EPERM (1)", "run as root");
    assert_eq!(of("trips", |facts, _| refuse(facts)).status, Status::Ok);
}

#[test]
fn a_hook_that_the_kernel_lacks_fails_only_what_is_asked_for() {
    let lack = |facts: &mut Facts| {
        facts.kernel.hooks[0].in_types = Some(false);
        facts.kernel.hooks[0].attached = None;
        let text = "find tracepoint \"data_in\" in the kernel's types: there is none".to_owned();
        facts.kernel.hooks[0].error = Some(SystemError { errno: None, text });
        ended(&mut facts.kernel.measurements[0], "disabled", "hook_absent");
    };
    assert_says(&of("data_in", |facts, _| lack(facts)), Status::Failing, "not in BTF", "docs/kernels.md");
    assert_says(&of("waits", |facts, _| lack(facts)), Status::Failing, "hook_absent", "kernel.measurements");
    let unasked = |facts: &mut Facts| {
        lack(facts);
        facts.kernel.measurements[0].asked_for = false;
        ended(&mut facts.kernel.measurements[0], "disabled", "off");
    };
    assert_eq!(of("data_in", |facts, _| unasked(facts)).status, Status::Warning);
    assert_says(&of("waits", |facts, _| unasked(facts)), Status::Off, "its hook data_in would not", "");
}

#[test]
fn a_measurement_that_is_off_is_off_and_says_whether_it_would_run() {
    let check = of("waits", |facts, _| {
        facts.kernel.measurements[0].asked_for = false;
        ended(&mut facts.kernel.measurements[0], "disabled", "off");
    });
    assert_says(&check, Status::Off, "its hooks load and attach", "");
    let check = of("waits", |facts, _| ended(&mut facts.kernel.measurements[0], "disabled", "no_forwarder"));
    assert_says(&check, Status::Off, "no_forwarder", "[[forwarder]]");
}

#[test]
fn a_missing_member_is_named_with_what_needs_it() {
    let check = of("struct_members", |facts, _| {
        let (member, needed_by) = ("tcp_sock.copied_seq".into(), "waits".into());
        facts.kernel.missing_members.push(MemberFact { member, needed_by });
        ended(&mut facts.kernel.measurements[0], "disabled", "member_absent");
    });
    assert_says(&check, Status::Failing, "tcp_sock.copied_seq (waits)", "report");
}

#[test]
fn a_program_that_stands_alone_on_the_cgroup_is_named_and_blamed() {
    let block = |facts: &mut Facts| {
        let programs = vec![ProgramFact { id: 77, name: Some("their_prog".into()) }];
        let cgroup = "/sys/fs/cgroup".into();
        let on = AttachmentFact { cgroup, mode: AttachMode::Exclusive, blocks: true, programs };
        facts.kernel.attachments.push(on);
        ended(&mut facts.kernel.measurements[1], "failed", "refused");
        facts.kernel.measurements[1].error = refused("EPERM", 1, "attach program events: no");
    };
    let check = of("sock_ops_of_others", |facts, _| block(facts));
    assert_says(&check, Status::Failing, "program 77 \"their_prog\" attached alone", "BPF_F_ALLOW_MULTI");
    let measurement = of("trips", |facts, _| block(facts));
    assert_says(&measurement, Status::Failing, "failed (refused): EPERM (1)", "sock_ops_of_others");
}

#[test]
fn programs_beside_others_keep_nobody_out() {
    let check = of("sock_ops_of_others", |facts, _| {
        let programs = vec![ProgramFact { id: 7, name: None }];
        let cgroup = "/sys/fs/cgroup".into();
        let on = AttachmentFact { cgroup, mode: AttachMode::Multi, blocks: false, programs };
        facts.kernel.attachments.push(on);
    });
    assert_says(&check, Status::Ok, "7 (name not known) attached beside others", "");
}

#[test]
fn a_taken_port_is_well_with_an_agent_and_fails_with_anybody_else() {
    let with = |process: Option<(&str, bool)>, configured| {
        let process = process.map(|(name, is_agent)| HolderFact { pid: 9, name: name.into(), is_agent });
        let address = "127.0.0.1:19748".into();
        let fact = ListenerFact { name: "admin".into(), address, taken: true, local: true, process };
        of("admin_listener", |facts, asked| {
            facts.listeners.push(fact);
            asked.configured = configured;
        })
    };
    assert_says(&with(Some(("insight-agent", true)), true), Status::Ok, "an agent runs there, pid 9", "");
    assert_says(&with(Some(("java", false)), true), Status::Failing, "\"java\", pid 9", "[admin] listen");
    assert_eq!(with(Some(("java", false)), false).status, Status::Warning, "nobody asked for that port");
    assert_says(&with(None, true), Status::Warning, "cannot be told", "ss -ltnp");
}

#[test]
fn a_second_exporter_warns_unless_the_families_are_off() {
    let with = |node_metrics| {
        of("node_exporter", |facts, asked| {
            facts.node_exporter = Some("process 9 is a node_exporter".into());
            asked.node_metrics = node_metrics;
            asked.duplicate_advice = "set host.node_metrics = false here, or stop it";
        })
    };
    assert_says(&with(true), Status::Warning, "process 9", "or stop it");
    assert_eq!(with(false).status, Status::Ok);
}

#[test]
fn a_forwarder_that_nobody_configured_comes_with_its_table() {
    let fact = |configured, pids: &[u32]| ForwarderFact {
        name: "haproxy".into(),
        criteria: "process = \"haproxy\"".into(),
        configured,
        pids: pids.to_vec(),
        threads: 4,
    };
    let check = of("haproxy", |facts, _| facts.forwarders.push(fact(false, &[5, 6])));
    assert_says(
        &check,
        Status::Ok,
        "2 processes, 4 threads: pid 5, 6",
        "name = \"haproxy\", process = \"haproxy\"",
    );
    let check = of("haproxy", |facts, _| facts.forwarders.push(fact(true, &[])));
    assert_says(&check, Status::Warning, "no process matches process = \"haproxy\"", "criteria");
}

#[test]
fn seeding_that_nobody_asked_for_is_off_and_no_warning() {
    let check = of("seeding", |facts, _| {
        let seeding = facts.kernel.seeding.as_mut().unwrap();
        ended(seeding, "disabled", "off");
        seeding.asked_for = false;
    });
    assert_says(&check, Status::Off, "no measurement of sockets is in kernel.measurements", "");
    let check = of("seeding", |facts, asked| {
        ended(facts.kernel.seeding.as_mut().unwrap(), "disabled", "off");
        asked.kernel = false;
    });
    assert_says(&check, Status::Off, "kernel.enabled is false", "");
}

#[test]
fn seeding_that_fails_costs_a_part_and_is_a_warning() {
    let check = of("seeding", |facts, _| {
        let seeding = facts.kernel.seeding.as_mut().unwrap();
        ended(seeding, "failed", "permission");
        seeding.error = refused("EPERM", 1, "walk: Operation not permitted");
    });
    assert_says(&check, Status::Warning, "EPERM (1); sockets that open from now on", "");
}
