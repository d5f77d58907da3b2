//! Who else runs here: forwarders, listeners, exporters, agents.

use super::Asked;
use crate::model::doctor::{Check, Facts, ForwarderFact, Group, ListenerFact, Status};

pub(super) fn forwarders(facts: &Facts, asked: &Asked) -> Vec<Check> {
    let found: Vec<&ForwarderFact> =
        facts.forwarders.iter().filter(|of| of.configured || !of.pids.is_empty()).collect();
    if found.is_empty() {
        let none = match (asked.configured, facts.forwarders.is_empty()) {
            (true, _) => "none configured, and none of the known ones runs here".to_owned(),
            (false, _) => {
                let names: Vec<_> = facts.forwarders.iter().map(|of| of.name.as_str()).collect();
                format!("no process is called {}", names.join(", "))
            }
        };
        return vec![
            Check::new(Group::Forwarders, "none", Status::Ok, none).advise(
                "if this host forwards, name its proxy in a [[forwarder]] table: deploy/insight.toml",
            ),
        ];
    }
    found.into_iter().map(|of| forwarder(of, asked)).collect()
}

fn forwarder(of: &ForwarderFact, asked: &Asked) -> Check {
    let check = |status, found: String| Check::new(Group::Forwarders, &of.name, status, found);
    if of.pids.is_empty() {
        let found = format!("no process matches {}", of.criteria);
        return check(Status::Warning, found)
            .advise("start it, or correct its table; all criteria of a table must hold together");
    }
    let found =
        format!("{}, {}: {}", count(of.pids.len(), "process"), count(of.threads, "thread"), pids(&of.pids));
    if of.configured {
        return check(Status::Ok, found);
    }
    let table = format!("[[forwarder]] name = {0:?}, process = {0:?}", of.name);
    let where_to = if asked.configured { "add to the configuration" } else { "write into the configuration" };
    check(Status::Ok, format!("{found}; not configured"))
        .advise(format!("{where_to}, on three lines: {table}"))
}

/// `process` and `thread` with their number.
fn count(number: usize, noun: &str) -> String {
    let plural = if noun.ends_with('s') { "es" } else { "s" };
    format!("{number} {noun}{}", if number == 1 { "" } else { plural })
}

/// The first few ids.
fn pids(pids: &[u32]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<_> = pids.iter().take(SHOWN).map(u32::to_string).collect();
    let more = if pids.len() > SHOWN { ", …" } else { "" };
    format!("pid {}{more}", shown.join(", "))
}

pub(super) fn listeners(facts: &Facts, asked: &Asked) -> Vec<Check> {
    facts.listeners.iter().map(|of| listener(of, asked)).collect()
}

fn listener(of: &ListenerFact, asked: &Asked) -> Check {
    let name = format!("{}_listener", of.name);
    let check = |status, found: String| Check::new(Group::Neighbours, &name, status, found);
    // Without a configuration nobody has said that the agent shall listen there.
    let status = if asked.configured { Status::Failing } else { Status::Warning };
    if !of.local {
        return check(status, format!("{}: this host has no such address", of.address))
            .advise(format!("set [{}] listen to an address of this host, or to [::]:PORT", of.name));
    }
    if !of.taken {
        return check(Status::Ok, format!("{} is free", of.address));
    }
    match &of.process {
        Some(holder) if holder.is_agent => {
            check(Status::Ok, format!("{}: an agent runs there, pid {}", of.address, holder.pid))
        }
        Some(holder) => {
            let found = format!("{}: taken by \"{}\", pid {}", of.address, holder.name, holder.pid);
            check(status, found).advise(format!("set [{}] listen to another port, or stop it", of.name))
        }
        None => {
            let found = format!("{}: taken, by whom cannot be told without CAP_SYS_PTRACE", of.address);
            check(Status::Warning, found).advise("run doctor as root, or look with: ss -ltnp")
        }
    }
}

pub(super) fn others(facts: &Facts, asked: &Asked) -> Vec<Check> {
    let check = |name, status, found: String| Check::new(Group::Neighbours, name, status, found);
    let exporter = match (&facts.node_exporter, asked.node_metrics) {
        (None, true) => check("node_exporter", Status::Ok, "none on this host".to_owned()),
        (None, false) => check("node_exporter", Status::Off, "host.node_metrics is false".to_owned()),
        (Some(found), false) => check(
            "node_exporter",
            Status::Ok,
            format!("{found}; host.node_metrics is false, so nothing doubles"),
        ),
        (Some(found), true) => {
            check("node_exporter", Status::Warning, found.clone()).advise(asked.duplicate_advice)
        }
    };
    let agents = match facts.agents.is_empty() {
        true => "no other runs here".to_owned(),
        false => format!("{}: {}", count(facts.agents.len(), "process"), pids(&facts.agents)),
    };
    let mut checks = vec![exporter, check("agents", Status::Ok, agents)];
    let programs = facts.kernel.other_agents.iter().map(|agent| {
        let who = agent.pid.map_or("a process that cannot be told".to_owned(), |pid| format!("pid {pid}"));
        let ids: Vec<_> = agent.programs.iter().map(u32::to_string).collect();
        let found = format!("{who} has {} loaded: {}", count(ids.len(), "program"), ids.join(", "));
        check("agent_programs", Status::Ok, found)
    });
    checks.extend(programs);
    checks
}
