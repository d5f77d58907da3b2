//! What the process may do, what is lost without it, and whose namespaces it is in.

use super::{Asked, any_asked, on_cgroups};
use crate::model::doctor::{Check, Facts, Group, Namespace, Status};

/// Replaces the newer, narrower ones.
const ADMIN: &str = "CAP_SYS_ADMIN";

/// CAP_BPF and CAP_PERFMON exist since then; before, CAP_SYS_ADMIN is what the kernel asks for.
const NARROW_SINCE: (u32, u32) = (5, 8);

/// Maps and programs are accounted to the control group since then, and not to the locked memory.
pub(super) const ACCOUNTED_SINCE: (u32, u32) = (5, 11);

pub(super) fn checks(facts: &Facts, asked: &Asked) -> Vec<Check> {
    let mut checks = capabilities(facts, asked);
    checks.extend([user(facts, asked), pids(facts, asked), network(facts)]);
    checks
}

fn check(name: &str, status: Status, found: impl Into<String>) -> Check {
    Check::new(Group::Privileges, name, status, found)
}

/// Who grants capabilities, in words.
fn grant(name: &str) -> String {
    format!(
        "run as root, or grant it: AmbientCapabilities={name} in systemd, capabilities.add: [{}] in a pod",
        name.trim_start_matches("CAP_")
    )
}

fn capabilities(facts: &Facts, asked: &Asked) -> Vec<Check> {
    let process = &facts.process;
    if process.capabilities.is_none() {
        let found = "not known: the line CapEff of /proc/self/status cannot be read";
        return vec![check("capabilities", Status::Warning, found)];
    }
    let has = |name| process.has(name) == Some(true);
    let cgroups = on_cgroups(facts);
    let lost_on_cgroups = format!("lost: {}, and who else is attached there", cgroups.join(", "));
    let all = "lost: all kernel measurements".to_owned();
    let needed = [
        ("CAP_BPF", all.clone(), asked.kernel),
        ("CAP_PERFMON", all, asked.kernel),
        ("CAP_NET_ADMIN", lost_on_cgroups, asked.kernel && any_asked(facts, &cgroups)),
    ];
    let mut checks = Vec::new();
    for (name, lost, asked) in needed {
        let is_older = name != "CAP_NET_ADMIN" && facts.system.is_before(NARROW_SINCE);
        checks.push(match (has(name), has(ADMIN), asked) {
            (true, _, _) if !is_older => check(name, Status::Ok, "effective"),
            (_, true, _) => check(name, Status::Ok, format!("not effective: {ADMIN} replaces it")),
            (_, false, false) => {
                check(name, Status::Off, "not effective; nothing that is asked for needs it")
            }
            (_, false, true) if is_older => {
                check(name, Status::Failing, format!("before 5.8 the kernel asks for {ADMIN}; {lost}"))
                    .advise(grant(ADMIN))
            }
            (_, false, true) => {
                check(name, Status::Failing, format!("not effective; {lost}")).advise(grant(name))
            }
        });
    }
    checks.push(admin(has(ADMIN), asked));
    checks.push(resource(facts, has("CAP_SYS_RESOURCE")));
    checks.push(ptrace(facts, has("CAP_SYS_PTRACE")));
    checks.push(search(facts, has("CAP_DAC_READ_SEARCH") || has("CAP_DAC_OVERRIDE")));
    checks
}

fn admin(has: bool, asked: &Asked) -> Check {
    match (has, asked.scope_by_namespace) {
        (true, _) => check(ADMIN, Status::Ok, "effective"),
        (false, true) => {
            let found = "not effective; lost: sockets that were open before, in kernel.scope_namespaces, and \
                         the names of others' programs";
            check(ADMIN, Status::Warning, found).advise(grant(ADMIN))
        }
        (false, false) => check(
            ADMIN,
            Status::Ok,
            "not effective; lost: only the names of others' programs, in this report",
        ),
    }
}

fn resource(facts: &Facts, has: bool) -> Check {
    let name = "CAP_SYS_RESOURCE";
    if has {
        return check(name, Status::Ok, "effective");
    }
    if !facts.system.is_before(ACCOUNTED_SINCE) {
        return check(name, Status::Ok, "not effective; not needed since 5.11");
    }
    match facts.process.memlock_limit_bytes {
        None => check(name, Status::Ok, "not effective; not needed: locked memory is not limited"),
        Some(_) => {
            check(name, Status::Warning, "not effective; before 5.11 the limit on locked memory holds")
                .advise("raise it: LimitMEMLOCK=infinity in systemd, ulimit -l unlimited in a shell")
        }
    }
}

/// Whether the configuration names a forwarder by its port.
fn looked_for_by_port(facts: &Facts) -> bool {
    facts.forwarders.iter().any(|of| of.configured && of.criteria.contains("port ="))
}

fn ptrace(facts: &Facts, has: bool) -> Check {
    let name = "CAP_SYS_PTRACE";
    match (has, looked_for_by_port(facts)) {
        (true, _) => check(name, Status::Ok, "effective"),
        (false, true) => {
            let found = "not effective; lost: forwarders of other users that are looked for by their port";
            check(name, Status::Warning, found).advise(grant(name))
        }
        (false, false) => {
            let found = "not effective; lost: who holds a port, and programs of other users whose process is \
                         called otherwise";
            check(name, Status::Ok, found)
        }
    }
}

/// `has`: it, or the wider one.
fn search(facts: &Facts, has: bool) -> Check {
    let name = "CAP_DAC_READ_SEARCH";
    match (has, looked_for_by_port(facts)) {
        (true, _) => check(name, Status::Ok, "effective, or CAP_DAC_OVERRIDE is"),
        (false, true) => {
            let found = "not effective; lost: forwarders of other users that are looked for by their port";
            check(name, Status::Warning, found).advise(grant(name))
        }
        (false, false) => check(name, Status::Ok, "not effective; lost: who holds a port"),
    }
}

// ---- namespaces -----------------------------------------------------------------------------

fn user(facts: &Facts, asked: &Asked) -> Check {
    let name = "user_namespace";
    match facts.process.user_namespace {
        Namespace::Host => check(name, Status::Ok, "the host's"),
        Namespace::Unknown => unknown(name, "user"),
        Namespace::Other => {
            let status = if asked.kernel { Status::Failing } else { Status::Warning };
            check(name, status, "not the host's: its capabilities do not count where programs are loaded")
                .advise("run it outside of a user namespace: no rootless container, hostUsers: true in a pod")
        }
    }
}

fn pids(facts: &Facts, asked: &Asked) -> Check {
    let name = "pid_namespace";
    let names_processes = facts.forwarders.iter().any(|forwarder| forwarder.configured);
    match facts.process.pid_namespace {
        Namespace::Host => check(name, Status::Ok, "the host's"),
        Namespace::Unknown => unknown(name, "pid"),
        Namespace::Other => {
            let status = if asked.kernel && names_processes { Status::Failing } else { Status::Warning };
            let found = "not the host's: this is a container, whose process ids are not the kernel's, so \
                         forwarders are not found or mistaken for others";
            check(name, status, found)
                .advise("set hostPID: true in the pod, --pid=host with docker and podman")
        }
    }
}

fn network(facts: &Facts) -> Check {
    let name = "network_namespace";
    match facts.process.network_namespace {
        Namespace::Host => check(name, Status::Ok, "the host's"),
        Namespace::Unknown => unknown(name, "net"),
        Namespace::Other => {
            let found = "not the host's: devices, TCP counters and listeners are of this namespace, and so are \
                         the sockets that were open before";
            check(name, Status::Warning, found).advise(
                "set hostNetwork: true in the pod, --network=host with docker and podman, unless this is the \
                 forwarder's own namespace",
            )
        }
    }
}

fn unknown(name: &str, link: &str) -> Check {
    check(name, Status::Ok, format!("cannot be told from /proc/self/ns/{link} by this user on this kernel"))
}
