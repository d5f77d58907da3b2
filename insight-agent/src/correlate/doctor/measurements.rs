//! What the kernel does with the programs, and what becomes of the measurements.

use super::{Asked, NO_FORWARDER, is_missing, on_cgroups};
use crate::model::doctor::{
    AttachMode, AttachmentFact, Check, Facts, Group, HookFact, MeasurementFact, Status, SystemError,
};

/// How much of an error is told in text; the verifier's log has pages, the facts have all of it.
const MOST: usize = 400;

// ---- hooks ----------------------------------------------------------------------------------

pub(super) fn hooks(facts: &Facts, asked: &Asked) -> Vec<Check> {
    facts.kernel.hooks.iter().map(|hook| hook_check(hook, facts, asked)).collect()
}

fn hook_check(hook: &HookFact, facts: &Facts, asked: &Asked) -> Check {
    let name = hook.tracepoint.as_deref().unwrap_or(&hook.program);
    let serves = match hook.measurements.len() == facts.kernel.measurements.len() {
        true => "for all".to_owned(),
        false => format!("for {}", hook.measurements.join(", ")),
    };
    let described = match (hook.in_types, &hook.tracepoint) {
        (Some(true), _) => "in BTF",
        (_, None) => "on a cgroup",
        (Some(false), _) => "not in BTF",
        (None, _) => "BTF is not known",
    };
    let check = |status, found: &str| Check::new(Group::Hooks, name, status, format!("{found}; {serves}"));
    let mut users = facts.kernel.measurements.iter().filter(|fact| hook.measurements.contains(&fact.name));
    // What only something that is off would have needed is no more than a warning.
    let is_missed = users.any(is_missing);
    let status = if is_missed { Status::Failing } else { Status::Warning };
    if let Some(refusal) = hook.refusal() {
        if hook.in_types == Some(false) {
            let found = format!("not in BTF with the arguments that are read: {}", refusal.text);
            return check(status, &found).advise("run a kernel that has it: docs/kernels.md says since when");
        }
        let (number, text) = told(refusal);
        let refused = check(status, &format!("{described}; not attached: {number}")).explain(Some(text));
        return match advice(refusal) {
            Some(advice) => refused.advise(advice),
            None => refused,
        };
    }
    match hook.attached {
        Some(true) => check(Status::Ok, &format!("{described}, loads and attaches")),
        _ if !asked.kernel => check(Status::Off, &format!("{described}; not tried")),
        _ => check(status, &format!("{described}; not tried")),
    }
}

/// The number of an error, or that it has none, and its text, cut to what can be read.
fn told(error: &SystemError) -> (String, String) {
    let number = error.errno.as_ref().map_or_else(|| "refused".to_owned(), ToString::to_string);
    // The advice stands on a line of its own.
    let text = error.text.split(": grant CAP_").next().unwrap_or_default();
    // Each layer of an error may say again what the one below says.
    let mut parts: Vec<&str> = text.split(": ").collect();
    parts.dedup();
    let text = parts.join(": ");
    let mut told: String = text.chars().take(MOST).collect();
    if told.len() < text.len() {
        told.push('…');
    }
    (number, told)
}

/// State and reason of a measurement, with the number of what it failed by.
fn outcome(fact: &MeasurementFact) -> String {
    let errno = fact.error.as_ref().and_then(|error| error.errno.as_ref());
    let errno = errno.map_or_else(String::new, |errno| format!(": {errno}"));
    format!("{} ({}){errno}", fact.state, fact.reason)
}

/// What usually helps against an error number.
fn advice(error: &SystemError) -> Option<&'static str> {
    let name = error.errno.as_ref().map(|errno| errno.name.as_str());
    match name? {
        "EPERM" | "EACCES" if error.text.contains("attach program") => {
            Some("see the programs of others on this cgroup, below, and the capabilities above")
        }
        "EPERM" => Some(
            "run as root, or grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; a container's seccomp profile must \
             allow bpf()",
        ),
        "EACCES" | "EINVAL" => {
            Some("the verifier of this kernel refuses the program: report its release and this text")
        }
        "ENOMEM" | "E2BIG" => Some("raise the memory limit of the control group, see memory below"),
        "ENOSYS" => Some("run a kernel with CONFIG_BPF_SYSCALL=y; a seccomp profile must allow bpf()"),
        "ENOENT" => Some("what is named does not exist on this host: correct the configuration"),
        _ => None,
    }
}

/// Members that the types lack. Empty: none is missing, or the types are not known.
pub(super) fn members(facts: &Facts) -> Vec<Check> {
    let check = |status, found| Check::new(Group::Hooks, "struct_members", status, found);
    if facts.system.btf.bytes.is_none() || facts.system.btf.error.is_some() {
        return Vec::new();
    }
    let missing = &facts.kernel.missing_members;
    if missing.is_empty() {
        return vec![check(Status::Ok, "all that are read are in BTF".to_owned())];
    }
    let is_missed = |needed_by: &str| {
        let mut states = facts.kernel.measurements.iter();
        states.any(|fact| is_missing(fact) && fact.reason == "member_absent" && needed_by == fact.name)
            || needed_by == "sockets" && facts.kernel.measurements.iter().any(is_missing)
    };
    let status = match missing.iter().any(|member| is_missed(&member.needed_by)) {
        true => Status::Failing,
        false => Status::Warning,
    };
    let names = missing.iter().map(|member| format!("{} ({})", member.member, member.needed_by));
    let found = format!("not in BTF: {}", names.collect::<Vec<_>>().join(", "));
    vec![check(status, found).advise("report this kernel's release: a struct has changed")]
}

/// Programs of others on the cgroup that ours are attached to. Empty: there are none.
pub(super) fn attachments(facts: &Facts) -> Vec<Check> {
    let check = |status, found: String| Check::new(Group::Hooks, "sock_ops_of_others", status, found);
    let users = on_cgroups(facts);
    let mut checks: Vec<Check> =
        facts.kernel.attachments.iter().map(|on| attachment(on, &users, &check)).collect();
    if let Some(error) = &facts.kernel.attachments_error {
        let (number, text) = told(error);
        let unknown = check(Status::Warning, format!("not known: {number}")).explain(Some(text));
        checks.push(unknown.advise("asking takes CAP_NET_ADMIN"));
    }
    checks
}

fn attachment(on: &AttachmentFact, users: &[&str], check: &dyn Fn(Status, String) -> Check) -> Check {
    let programs = on.programs.iter().map(|program| match &program.name {
        Some(name) if !name.is_empty() => format!("{} \"{name}\"", program.id),
        _ => format!("{} (name not known)", program.id),
    });
    let programs = programs.collect::<Vec<_>>().join(", ");
    let mode = match on.mode {
        AttachMode::Multi => "beside others (ALLOW_MULTI)",
        AttachMode::Override => "alone (ALLOW_OVERRIDE)",
        AttachMode::Exclusive => "alone (exclusive, flags 0)",
    };
    let found = format!("{}: program {programs} attached {mode}", on.cgroup);
    if !on.blocks {
        return check(Status::Ok, found);
    }
    let found = format!("{found}: keeps ours out with EPERM (1); lost: {}", users.join(", "));
    check(Status::Failing, found).advise(
        "make its owner attach it with a link or with BPF_F_ALLOW_MULTI, or detach it: bpftool cgroup detach; \
         or set kernel.scope_cgroup to a cgroup that it does not cover",
    )
}

// ---- measurements ---------------------------------------------------------------------------

pub(super) fn states(facts: &Facts, asked: &Asked) -> Vec<Check> {
    let mut checks: Vec<Check> =
        facts.kernel.measurements.iter().map(|fact| state(fact, facts, asked)).collect();
    checks.extend(facts.kernel.seeding.as_ref().map(|fact| seeding(fact, facts, asked)));
    checks
}

fn state(fact: &MeasurementFact, facts: &Facts, asked: &Asked) -> Check {
    let check = |status, found: String| Check::new(Group::Measurements, &fact.name, status, found);
    let would = would_run(&fact.name, facts);
    if fact.state == "active" {
        return check(Status::Ok, "active".to_owned());
    }
    if !asked.kernel {
        return check(Status::Off, format!("off: kernel.enabled is false; {would}"));
    }
    if !fact.asked_for {
        return check(Status::Off, format!("off: not in kernel.measurements; {would}"));
    }
    if fact.reason == NO_FORWARDER {
        return check(Status::Off, format!("disabled (no_forwarder): it measures forwarders only; {would}"))
            .advise("add a [[forwarder]] table if this host forwards");
    }
    let error = fact.error.as_ref();
    let failing = check(Status::Failing, outcome(fact)).explain(error.map(|error| told(error).1));
    let blocked = facts.kernel.attachments.iter().any(|on| on.blocks)
        && on_cgroups(facts).contains(&fact.name.as_str());
    let advice = match fact.reason.as_str() {
        _ if blocked => Some("another program holds the cgroup alone: see sock_ops_of_others above"),
        "no_btf" => Some("see btf above"),
        "no_cgroup" => Some("see cgroup2 above; correct kernel.scope_cgroup if it is set"),
        "no_namespace" => Some("correct kernel.scope_namespaces: name files such as /run/netns/NAME"),
        "hook_absent" | "member_absent" => Some(
            "run a newer kernel (docs/kernels.md says since when), or take it out of kernel.measurements",
        ),
        _ => error.and_then(advice),
    };
    match advice {
        Some(advice) => failing.advise(advice),
        None => failing,
    }
}

/// Whether a measurement that is off would run, as far as its hooks tell.
fn would_run(name: &str, facts: &Facts) -> String {
    let hooks: Vec<&HookFact> =
        facts.kernel.hooks.iter().filter(|hook| hook.measurements.iter().any(|of| of == name)).collect();
    if let Some(missing) = hooks.iter().find(|hook| hook.refusal().is_some()) {
        return format!("its hook {} would not", missing.tracepoint.as_ref().unwrap_or(&missing.program));
    }
    let members = facts.kernel.missing_members.iter();
    if let Some(missing) =
        members.into_iter().find(|member| [name, "sockets"].contains(&member.needed_by.as_str()))
    {
        return format!("its member {} is missing", missing.member);
    }
    match hooks.iter().all(|hook| hook.attached == Some(true)) {
        true => "its hooks load and attach".to_owned(),
        false if hooks.iter().any(|hook| hook.tracepoint.is_some() && hook.in_types.is_none()) => {
            "whether it would run is not known".to_owned()
        }
        false => "its hooks are there".to_owned(),
    }
}

/// What is open already is only a part, so that its loss is a warning.
fn seeding(fact: &MeasurementFact, facts: &Facts, asked: &Asked) -> Check {
    let check = |status, found: String| Check::new(Group::Measurements, &fact.name, status, found);
    match fact.state.as_str() {
        "active" => check(Status::Ok, "active: sockets that are open already are measured too".to_owned()),
        _ if !asked.kernel => check(Status::Off, "off: kernel.enabled is false".to_owned()),
        _ if !fact.asked_for => {
            check(Status::Off, "off: no measurement of sockets is in kernel.measurements".to_owned())
        }
        // Without any measurement there is nothing to enter.
        _ if facts.kernel.measurements.iter().all(|fact| fact.state != "active") => {
            check(Status::Off, format!("{} ({}): no measurement is active", fact.state, fact.reason))
        }
        _ => {
            let found = format!("{}; sockets that open from now on are measured", outcome(fact));
            check(Status::Warning, found).explain(fact.error.as_ref().map(|error| told(error).1))
        }
    }
}
