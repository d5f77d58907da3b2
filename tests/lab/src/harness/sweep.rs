//! Run folders: where they are, and what is done about those whose harness is dead.

use super::record::{Identity, Record, boot_id, group_members};
use crate::namespaces;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, geteuid};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a killed process may take to disappear before its folder is removed under it.
const DYING: Duration = Duration::from_secs(2);

/// The folder of this user's runs: `$TMPDIR/insight-lab-<uid>`.
pub fn runs_folder() -> PathBuf {
    std::env::temp_dir().join(format!("insight-lab-{}", geteuid()))
}

/// Creates the folder of a new run, mode 0700. Its name tells the owner from the first moment
/// on, so that a sweep that runs at the same time never takes it for an abandoned one.
pub(super) fn create_run_folder(owner: Identity, subnet: u8) -> Result<PathBuf> {
    let (runs, mut private) = (runs_folder(), fs::DirBuilder::new());
    private.mode(0o700);
    let folder = runs.join(format!("{}-{}-{subnet}", owner.pid, owner.start_ticks));
    let what = || format!("create {}", folder.display());
    for _ in 0..100 {
        match private.create(&runs) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(what);
            }
            _ => {}
        }
        match private.create(&folder) {
            // A sweep removed the empty parent in between: once more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            created => created.with_context(what)?,
        }
        // In a shared temporary folder somebody else may have been first with the name.
        let parent = fs::symlink_metadata(&runs).with_context(what)?;
        let private = parent.is_dir() && parent.uid() == geteuid().as_raw() && parent.mode() & 0o077 == 0;
        ensure!(
            private,
            "{}: expected a folder of this user with mode 0700; remove it or set TMPDIR",
            runs.display()
        );
        return Ok(folder);
    }
    anyhow::bail!("{}: removed by others as often as created", folder.display())
}

/// Removes a run's folder, and the folder of all runs when this was the last one.
pub(super) fn remove_run_folder(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("remove {}: {error}", folder.display());
    }
    if let Some(runs) = folder.parent() {
        let _ = fs::remove_dir(runs); // refused while others are in it
    }
}

/// Ends what is left of runs whose harness is dead and removes their folders (those asked to be
/// kept stay). Root's namespaces, links and control groups of dead runs go too, whatever folder
/// their run had. Returns the folders that were dealt with. Runs that live are not touched.
pub fn sweep() -> Vec<PathBuf> {
    let swept = sweep_folders();
    // After the processes: what they hold cannot be removed under them.
    namespaces::sweep();
    swept
}

fn sweep_folders() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(runs_folder()) else { return Vec::new() };
    let mut swept = Vec::new();
    for folder in entries.flatten().map(|entry| entry.path()) {
        // A folder that is not named like a run is not ours to remove.
        let Some(owner) = folder.file_name().and_then(|n| n.to_str()).and_then(owner_of) else { continue };
        if owner.runs() {
            continue;
        }
        let record = Record::load(&folder);
        let keep = record.as_ref().is_some_and(|record| record.keep);
        if let Some(record) = record {
            end_children(&record, &folder);
        }
        if !keep {
            remove_run_folder(&folder);
            swept.push(folder);
        }
    }
    swept
}

/// The owner that a folder name of [`create_run_folder`] tells.
fn owner_of(name: &str) -> Option<Identity> {
    let mut parts = name.split('-');
    let pid = parts.next()?.parse().ok()?;
    let start_ticks = parts.next()?.parse().ok()?;
    parts.next()?.parse::<u8>().ok()?;
    parts.next().is_none().then_some(Identity { pid, start_ticks })
}

/// Kills the children that a dead harness recorded, workers included.
fn end_children(record: &Record, folder: &Path) {
    if record.boot_id != boot_id() {
        return;
    }
    for child in &record.children {
        if child.process.runs() {
            let _ = killpg(Pid::from_raw(child.process.pid), Signal::SIGKILL);
        }
        // A leader that died alone leaves its workers in its group. The group's number proves
        // little by itself; together with the run's folder as working directory it does.
        for pid in group_members(child.process.pid) {
            if fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
    let deadline = Instant::now() + DYING;
    while record.children.iter().any(|child| child.process.runs()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_runs_have_an_owner() {
        assert_eq!(owner_of("12-3456-77"), Some(Identity { pid: 12, start_ticks: 3456 }));
        for other in ["12-3456", "12-3456-77-1", "12-3456-999", "notes", "12-x-77"] {
            assert_eq!(owner_of(other), None, "{other}");
        }
    }
}
