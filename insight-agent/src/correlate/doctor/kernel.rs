//! The running kernel and its switches.

use super::{Asked, any_asked, on_cgroups};
use crate::model::doctor::{Check, Facts, Group, Status, SystemFacts};

/// The oldest kernel that the object was written for.
const OLDEST: (u32, u32) = (5, 15);

/// Since when all hooks of the default measurements exist.
const COMPLETE: (u32, u32) = (6, 3);

/// Architectures that the object is meant for: 64 bits, little-endian.
const MACHINES: [&str; 2] = ["x86_64", "aarch64"];

pub(super) fn checks(facts: &Facts, asked: &Asked) -> Vec<Check> {
    let system = &facts.system;
    let checks = [
        release(system),
        architecture(system),
        btf(system, asked),
        lockdown(facts, asked),
        unprivileged(system),
        jit(system),
        stats(system),
        pressure(system, asked),
        cgroup2(facts, asked),
    ];
    checks.into_iter().collect()
}

fn check(name: &str, status: Status, found: impl Into<String>) -> Check {
    Check::new(Group::Kernel, name, status, found)
}

/// What is worst that this may be: something is missing only if somebody asked for it.
fn failing_if(asked: bool) -> Status {
    if asked { Status::Failing } else { Status::Warning }
}

fn release(system: &SystemFacts) -> Check {
    let Some(release) = &system.release else {
        return check("release", Status::Warning, "not known: /proc/sys/kernel/osrelease cannot be read");
    };
    if system.is_before(OLDEST) {
        return check("release", Status::Warning, format!("{release}: older than 5.15, never tried"))
            .advise("the hooks below say what works; run a newer kernel for the rest");
    }
    if system.is_before(COMPLETE) {
        let found = format!("{release}: older than 6.3, which brought the hooks of reads and writes");
        return check("release", Status::Warning, found)
            .advise("the hooks below say what works; run Linux 6.3 or later for all measurements");
    }
    check("release", Status::Ok, release)
}

fn architecture(system: &SystemFacts) -> Check {
    let machine = &system.machine;
    match MACHINES.contains(&machine.as_str()) {
        true => check("architecture", Status::Ok, machine),
        false => {
            check("architecture", Status::Warning, format!("{machine}: the programs were never tried here"))
        }
    }
}

fn btf(system: &SystemFacts, asked: &Asked) -> Check {
    let (bytes, error) = (system.btf.bytes, system.btf.error.as_ref());
    match (bytes, error) {
        (Some(bytes), None) => {
            check("btf", Status::Ok, format!("/sys/kernel/btf/vmlinux: {bytes} bytes, readable"))
        }
        (bytes, error) => {
            let errno = error.and_then(|error| error.errno.as_ref());
            let errno = errno.map_or_else(String::new, |errno| format!("{errno}: "));
            let found = format!("{errno}{}", error.map_or("not readable", |error| error.text.as_str()));
            let advice = match bytes {
                Some(_) => "report this kernel's release: its types cannot be understood",
                None => {
                    "kernel measurements need the kernel's own types: run a kernel built with \
                     CONFIG_DEBUG_INFO_BTF=y; in a container, mount the host's /sys/kernel/btf read-only"
                }
            };
            check("btf", failing_if(asked.kernel), found).advise(advice)
        }
    }
}

fn lockdown(facts: &Facts, asked: &Asked) -> Check {
    let is_read_by_tracepoints = facts.kernel.hooks.iter().any(|hook| {
        let names: Vec<&str> = hook.measurements.iter().map(String::as_str).collect();
        hook.tracepoint.is_some() && any_asked(facts, &names)
    });
    match facts.system.lockdown.as_deref() {
        None => {
            check("lockdown", Status::Ok, "none: this kernel has no lockdown, or its file is not mounted")
        }
        Some("confidentiality") => {
            let found =
                "confidentiality: programs that read kernel memory are refused, that is all on tracepoints";
            check("lockdown", failing_if(asked.kernel && is_read_by_tracepoints), found)
                .advise("boot with lockdown=integrity, under which everything loads")
        }
        Some(level) => check("lockdown", Status::Ok, format!("{level}: everything may load")),
    }
}

fn unprivileged(system: &SystemFacts) -> Check {
    let name = "unprivileged_bpf_disabled";
    match system.unprivileged_bpf_disabled {
        None => check(name, Status::Ok, "not known; it does not matter with the capabilities below"),
        Some(0) => {
            check(name, Status::Ok, "0: users without capabilities may load harmless kinds, not these")
        }
        Some(value) => check(name, Status::Ok, format!("{value}: capabilities are needed, see below")),
    }
}

fn jit(system: &SystemFacts) -> Check {
    match system.bpf_jit_enable {
        None => check("bpf_jit", Status::Ok, "not known: only root may read net.core.bpf_jit_enable"),
        Some(0) => check("bpf_jit", Status::Warning, "off: programs are interpreted, several times slower")
            .advise("set net.core.bpf_jit_enable = 1 with sysctl"),
        Some(2) => check("bpf_jit", Status::Warning, "2: the kernel logs every program that it compiles")
            .advise("set net.core.bpf_jit_enable = 1 with sysctl"),
        Some(_) => check("bpf_jit", Status::Ok, "on"),
    }
}

fn stats(system: &SystemFacts) -> Check {
    match system.bpf_stats_enabled {
        None => check("bpf_stats", Status::Ok, "not known: this kernel has no kernel.bpf_stats_enabled"),
        Some(0) => check("bpf_stats", Status::Ok, "off"),
        Some(_) => {
            let found = "on: every run of every program is timed, which costs two more clock reads each";
            check("bpf_stats", Status::Warning, found)
                .advise("set kernel.bpf_stats_enabled = 0 with sysctl when nobody needs the figures")
        }
    }
}

fn pressure(system: &SystemFacts, asked: &Asked) -> Check {
    match (system.pressure, asked.node_metrics) {
        (true, _) => check("pressure", Status::Ok, "/proc/pressure is there"),
        (false, true) => check("pressure", Status::Warning, "none: node_pressure_* families are absent")
            .advise("boot with psi=1, on a kernel built with CONFIG_PSI=y"),
        (false, false) => check("pressure", Status::Off, "none; host.node_metrics does not ask for it"),
    }
}

fn cgroup2(facts: &Facts, asked: &Asked) -> Check {
    if let Some(mount) = &facts.system.cgroup2_mount {
        return check("cgroup2", Status::Ok, format!("mounted at {mount}; it need not be writable"));
    }
    let users = on_cgroups(facts);
    let found = format!("not mounted: nowhere to attach for {}", users.join(", "));
    check("cgroup2", failing_if(asked.kernel && any_asked(facts, &users)), found)
        .advise("mount it: mount -t cgroup2 none /sys/fs/cgroup/unified; in a container, mount the host's")
}
