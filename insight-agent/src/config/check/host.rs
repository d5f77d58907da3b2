//! What is read of the host, and which of its processes are forwarders.

use super::kernel::OTHER;
use super::names;
use crate::config::errors::{Complaint, Findings, Stated};
use crate::config::settings::Host;
use crate::config::table::Table;
use crate::model::host::{MAX_FORWARDERS, Selector};
use std::path::PathBuf;

/// What tells a forwarder's processes apart.
const CRITERIA: [&str; 4] = ["process", "port", "unit", "cgroup"];

/// Longest name of a file, and so of a program, a unit and a control group.
const NAME_LENGTH: usize = 255;

/// `[host]`. **None**: `findings` has the reasons.
pub(super) fn read(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<Host> {
    let enabled = table.flag("enabled", findings);
    let node_metrics = table.flag("node_metrics", findings);
    let period = table.duration("period", findings);
    Some(Host { enabled: enabled?.value, node_metrics: node_metrics?.value, period: period?.value })
}

/// Every `[[forwarder]]`. **None**: `findings` has the reasons.
pub(super) fn forwarders(tables: &[Table<'_>], findings: &mut Findings<'_>) -> Option<Vec<Selector>> {
    if let Some(surplus) = tables.get(MAX_FORWARDERS) {
        let what = format!("{} forwarders", tables.len());
        let advice = format!("keep them to {MAX_FORWARDERS}: each is a value of the forwarder label");
        findings.error(&surplus.site(), what, advice);
    }
    let names = names(tables, findings);
    let read: Vec<_> =
        tables.iter().zip(names).map(|(table, name)| forwarder(table, name, findings)).collect();
    read.into_iter().collect()
}

fn forwarder(
    table: &Table<'_>,
    name: Option<Stated<String>>,
    findings: &mut Findings<'_>,
) -> Option<Selector> {
    let process = table.text("process", findings, |text| file_name(text, "process name"));
    let port = table.count("port", findings);
    let unit = table.text("unit", findings, |text| file_name(text, "unit name"));
    let cgroup = table.text("cgroup", findings, cgroup);
    if !CRITERIA.iter().any(|key| table.states(key)) {
        findings.error(
            &table.site(),
            "nothing tells which processes it has: neither process, port, unit nor cgroup is stated",
            "add at least one of them, such as process = \"nginx\"",
        );
        return None;
    }
    let name = name?;
    if name.value == OTHER {
        findings.error(&name.site, "this name stands for whatever is no forwarder's", "take another one");
        return None;
    }
    Some(Selector {
        name: name.value,
        process: process.map(|process| process.value),
        // The table's range ends there.
        port: port.and_then(|port| u16::try_from(port.value).ok()),
        unit: unit.map(|unit| unit.value),
        cgroup: cgroup.map(|cgroup| cgroup.value),
    })
}

fn file_name(text: &str, what: &str) -> Result<String, Complaint> {
    if text.is_empty() || text.len() > NAME_LENGTH || text.contains('/') {
        return Err(Complaint::new(
            format!("{text:?} is no {what}"),
            "write its name alone, such as \"nginx\", without a path",
        ));
    }
    Ok(text.to_owned())
}

fn cgroup(text: &str) -> Result<PathBuf, Complaint> {
    if !text.starts_with('/') || text.len() == 1 {
        return Err(Complaint::new(
            format!("{text:?} is no control group"),
            "write its folder such as \"/sys/fs/cgroup/system.slice/nginx.service\", or its path as in /proc/PID/cgroup",
        ));
    }
    Ok(PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_groups_that_cannot_occur_are_refused() {
        assert!(file_name("nginx", "process name").is_ok());
        for text in ["", "/usr/sbin/nginx", &"x".repeat(256)] {
            assert!(file_name(text, "process name").is_err(), "{text}");
        }
        assert!(cgroup("/system.slice/nginx.service").is_ok());
        for text in ["", "/", "system.slice/nginx.service"] {
            assert!(cgroup(text).is_err(), "{text}");
        }
    }
}
