//! Which processes are the forwarders?

use super::cgroup::Hierarchies;
use super::listeners::Listeners;
use super::process::{Process, read_stat};
use super::root::{Root, Source};
use crate::model::host::{MAX_FORWARDERS, MAX_PROCESSES, Selector};
use procfs::{FromRead, ProcessCGroups};
use std::path::Path;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detection {
    /// Ids of each selector's processes, rising; as many lists as selectors within the bound.
    pub pids: Vec<Vec<u32>>,
    /// Selectors and processes beyond the bounds.
    pub capped: u64,
}

/// Looks through every process below `root` once. A process counts for the first selector that
/// matches it.
pub fn detect(root: &Root, selectors: &[Selector]) -> Detection {
    let found = find(&Source::new(root), selectors);
    let ids = |of: &Vec<Process>| of.iter().map(|process| process.pid).collect();
    Detection { pids: found.processes.iter().map(ids).collect(), capped: found.capped }
}

/// As [`Detection`], with start times.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) processes: Vec<Vec<Process>>,
    pub(super) capped: u64,
}

pub(super) fn find(source: &Source<'_>, selectors: &[Selector]) -> Found {
    let within = &selectors[..selectors.len().min(MAX_FORWARDERS)];
    let mut found =
        Found { processes: vec![Vec::new(); within.len()], capped: (selectors.len() - within.len()) as u64 };
    let mut within = within.to_vec();
    if within.iter().any(|selector| selector.cgroup.is_some()) {
        let hierarchies = Hierarchies::read(source);
        for group in within.iter_mut().filter_map(|selector| selector.cgroup.as_mut()) {
            *group = hierarchies.path_of(group);
        }
    }
    let mut listeners = Listeners::default();
    for pid in source.numbers("proc") {
        let matching = within.iter().position(|selector| matches(source, &mut listeners, selector, pid));
        let Some(at) = matching else { continue };
        // It may have ended since.
        let Some(line) = read_stat(source, pid) else { continue };
        if found.processes[at].len() < MAX_PROCESSES {
            found.processes[at].push(Process { pid, started: line.started });
        } else {
            found.capped += 1;
        }
    }
    found
}

/// Whether all that the selector gives holds; what is cheap to know comes first.
fn matches(source: &Source<'_>, listeners: &mut Listeners, selector: &Selector, pid: u32) -> bool {
    let Selector { name: _, process, port, unit, cgroup } = selector;
    if process.is_none() && port.is_none() && unit.is_none() && cgroup.is_none() {
        return false;
    }
    process.as_ref().is_none_or(|name| is_called(source, pid, name))
        && (unit.is_none() && cgroup.is_none() || is_grouped(source, pid, unit.as_deref(), cgroup.as_deref()))
        && port.is_none_or(|port| listeners.has(source, pid, port))
}

/// Whether the process, or its program's file, has this name.
fn is_called(source: &Source<'_>, pid: u32, name: &str) -> bool {
    let comm = source.read(format!("proc/{pid}/comm"), |text| Some(text.trim_end_matches('\n') == name));
    comm == Some(true) || program(source, pid).is_some_and(|program| program == name)
}

/// The name of the program's file, also of one that was replaced by an update meanwhile.
fn program(source: &Source<'_>, pid: u32) -> Option<String> {
    let exe = source.link(format!("proc/{pid}/exe"))?;
    let name = exe.file_name()?.to_str()?;
    Some(name.strip_suffix(" (deleted)").unwrap_or(name).to_owned())
}

/// Whether one of its control groups is of the unit, and one is at or below the path.
fn is_grouped(source: &Source<'_>, pid: u32, unit: Option<&str>, cgroup: Option<&Path>) -> bool {
    let Some(groups) = source.read(format!("proc/{pid}/cgroup"), parse_groups) else { return false };
    let of_unit = |path: &&str, unit: &str| {
        let mut parts = path.split('/');
        parts.any(|part| part == unit || part.strip_suffix(".service") == Some(unit))
    };
    let paths = || groups.0.iter().map(|group| group.pathname.as_str());
    unit.is_none_or(|unit| paths().any(|path| of_unit(&path, unit)))
        && cgroup.is_none_or(|cgroup| paths().any(|path| Path::new(path).starts_with(cgroup)))
}

/// **None**: a line that is no control group.
pub(super) fn parse_groups(text: &str) -> Option<ProcessCGroups> {
    ProcessCGroups::from_read(text.as_bytes()).ok()
}
