//! What a demo in namespaces holds outside its folder: namespaces, control groups, links, eBPF
//! programs. Found by the run's name and by numbers, not by the lab's own book-keeping.

use crate::demo::User;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// One run's traces.
#[derive(Debug)]
pub struct Traces {
    /// What everything of the run is called.
    run: String,
    /// Ids of the eBPF programs that its processes hold. The kernel gives none twice.
    programs: BTreeSet<u32>,
}

impl Traces {
    /// Of the running demo of `user`, which has printed `shown`. **None**: it has not printed its
    /// folder yet.
    pub fn of(user: &User, shown: &str) -> Option<Self> {
        let folder = shown.lines().find_map(|line| line.strip_prefix("logs "))?;
        let run = format!("insight-lab-{}", folder.rsplit('/').next()?);
        Some(Self { run, programs: user.pids().into_iter().flat_map(programs_of).collect() })
    }

    /// How many eBPF programs the run's processes held.
    pub fn programs(&self) -> usize {
        self.programs.len()
    }

    /// What is there now, each with its place; empty when nothing is.
    pub fn held(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read the mounts");
        let groups = mounts.lines().filter(|line| line.contains(" - cgroup"));
        let mut folders: Vec<PathBuf> =
            groups.filter_map(|line| Some(line.split(' ').nth(4)?.into())).collect();
        folders.push("/run/netns".into());
        let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        let mut found: Vec<String> = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&self.run))
            .map(|entry| entry.path().display().to_string())
            .collect();
        found.extend(mounts.lines().filter(|line| line.contains(&self.run)).map(str::to_owned));
        for device in fs::read_dir("/sys/class/net").expect("list the devices").flatten() {
            if fs::read_to_string(device.path().join("ifalias")).is_ok_and(|alias| alias.trim() == self.run) {
                found.push(device.path().display().to_string());
            }
        }
        let processes = fs::read_dir("/proc").expect("list /proc").flatten();
        for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
            let kept: Vec<u32> =
                programs_of(pid).into_iter().filter(|id| self.programs.contains(id)).collect();
            if !kept.is_empty() {
                found.push(format!("process {pid} holds the eBPF programs {kept:?}"));
            }
        }
        // Pinned ones would outlive every process.
        found.extend(pinned().into_iter().filter(|path| path.contains("insight")));
        found
    }
}

/// Ids of the eBPF programs that a process has open.
fn programs_of(pid: i32) -> Vec<u32> {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return Vec::new() };
    let ids = files.flatten().filter_map(|file| {
        let text = fs::read_to_string(file.path()).ok()?;
        let id = text.lines().find_map(|line| line.strip_prefix("prog_id:"))?;
        id.trim().parse().ok()
    });
    ids.collect()
}

/// Everything below a mounted BPF file system.
pub fn pinned() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/bpf")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            found.push(entry.path().display().to_string());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    found
}
