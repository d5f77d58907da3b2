//! What a run writes down about itself, so that a later start can tell what is left of it.

use crate::namespaces::NodePlace;
use crate::topology::Topology;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::path::Path;

/// Name of the record in a run's folder.
pub(super) const RECORD: &str = "lab.json";

/// One process, told apart from later ones with the same pid by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: i32,
    /// Start in clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
}

impl Identity {
    /// The process that has this pid now; `None` when there is none.
    pub fn of(pid: i32) -> Option<Identity> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Identity { pid, start_ticks: parse_stat(&stat)?.start_ticks })
    }

    /// The calling process.
    ///
    /// # Errors
    /// Its start cannot be read.
    pub fn own() -> Result<Identity> {
        let pid = i32::try_from(std::process::id()).context("own pid")?;
        Identity::of(pid).with_context(|| format!("read the start time of pid {pid} from /proc/{pid}/stat"))
    }

    /// Whether exactly this process still runs (a zombie does not).
    pub fn runs(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok();
        stat.as_deref()
            .and_then(parse_stat)
            .is_some_and(|s| s.start_ticks == self.start_ticks && s.state != 'Z')
    }
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Field 3; `Z` is a zombie.
    pub state: char,
    /// Field 5.
    pub process_group: i32,
    /// Field 22.
    pub start_ticks: u64,
}

/// Parses one `/proc/PID/stat`. The command name may hold blanks and parentheses, so fields are
/// counted from its last `)`.
pub(super) fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        process_group: fields.get(2)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// Pids of the running processes in a process group; zombies do not run.
pub(super) fn group_members(group: i32) -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        stat.as_deref().and_then(parse_stat).is_some_and(|s| s.process_group == group && s.state != 'Z')
    })
    .collect()
}

/// The running kernel's boot: ticks and pids mean nothing beyond it.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The content of `lab.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// The boot in which the run was started.
    pub boot_id: String,
    /// The process that owns the run.
    pub harness: Identity,
    /// The folder stays when the run is over.
    pub keep: bool,
    /// Where everything listens.
    pub topology: Topology,
    /// Where the nodes are, for people who look at a run; empty without namespaces. What a sweep
    /// removes it recognises by name.
    #[serde(default)]
    pub places: Vec<NodePlace>,
    /// Every child that was started and not seen to end.
    pub children: Vec<ChildRecord>,
}

/// One child; it leads a process group of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ChildRecord {
    /// The node's name.
    pub name: String,
    /// Its process, leader of the group with the same number.
    #[serde(flatten)]
    pub process: Identity,
}

impl Record {
    /// Writes the record so that a reader sees the old one or the new one, never half of it.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let (path, fresh) = (folder.join(RECORD), folder.join("lab.json.new"));
        let what = || format!("write {}", path.display());
        let mut file = fs::File::create(&fresh).with_context(what)?;
        file.write_all(&serde_json::to_vec_pretty(self).with_context(what)?).with_context(what)?;
        fs::rename(&fresh, &path).with_context(what)
    }

    /// Reads a run's record; `None` when it has none that can be read.
    pub fn load(folder: &Path) -> Option<Record> {
        serde_json::from_slice(&fs::read(folder.join(RECORD)).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 40 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        assert_eq!(parse_stat(stat), Some(Stat { state: 'S', process_group: 40, start_ticks: 987_654 }));
        assert_eq!(parse_stat("42 (short) S 1"), None);
    }

    #[test]
    fn another_start_time_is_another_process() {
        let own = Identity::own().unwrap();
        assert!(own.runs());
        assert!(!Identity { start_ticks: own.start_ticks + 1, ..own }.runs());
    }
}
