//! Control groups: one for the CPU time of each node and one in the cgroup2 tree, where eBPF
//! programs attach. Where the cpu controller is in version 2, both are the same group.

use super::names::RunName;
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long killed processes may take to leave a group.
const DYING: Duration = Duration::from_secs(3);
/// The period of a quota, in microseconds: the kernel's default.
const PERIOD_US: u128 = 100_000;

/// Which version the cpu controller has, and thereby how its files are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CpuController {
    V1,
    V2,
}

/// Where control groups are on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounts {
    pub cpu: PathBuf,
    pub version: CpuController,
    pub cgroup2: PathBuf,
}

impl Mounts {
    /// Looks where they are mounted.
    ///
    /// # Errors
    /// There is no cgroup2 mount, or no cpu controller in either version.
    pub fn find() -> Result<Mounts> {
        let file = "/proc/self/mountinfo";
        let text = fs::read_to_string(file).with_context(|| format!("read {file}"))?;
        Mounts::parse(&text, |cgroup2| {
            let controllers = fs::read_to_string(cgroup2.join("cgroup.controllers")).unwrap_or_default();
            controllers.split_ascii_whitespace().any(|controller| controller == "cpu")
        })
    }

    /// `cpu_in_version_2` tells whether a cgroup2 mount has the cpu controller.
    fn parse(mountinfo: &str, cpu_in_version_2: impl Fn(&Path) -> bool) -> Result<Mounts> {
        // "… MOUNT-POINT OPTIONS [FIELDS] - TYPE SOURCE SUPER-OPTIONS"
        let mounts = mountinfo.lines().filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let right: Vec<&str> = right.split(' ').collect();
            Some((PathBuf::from(left.split(' ').nth(4)?), *right.first()?, *right.get(2)?))
        });
        let mounts: Vec<_> = mounts.collect();
        let cgroup2 = mounts.iter().find(|(_, kind, _)| *kind == "cgroup2").map(|(at, _, _)| at.clone());
        let cgroup2 = cgroup2.context("no cgroup2 is mounted (/proc/self/mountinfo)")?;
        let version_1 = mounts
            .iter()
            .find(|(_, kind, options)| *kind == "cgroup" && options.split(',').any(|o| o == "cpu"));
        match version_1 {
            Some((cpu, _, _)) => Ok(Mounts { cpu: cpu.clone(), version: CpuController::V1, cgroup2 }),
            None => {
                anyhow::ensure!(
                    cpu_in_version_2(&cgroup2),
                    "no cpu controller: neither mounted in version 1 nor in {}/cgroup.controllers",
                    cgroup2.display()
                );
                Ok(Mounts { cpu: cgroup2.clone(), version: CpuController::V2, cgroup2 })
            }
        }
    }

    /// The different trees: two, or one.
    pub fn trees(&self) -> impl Iterator<Item = &Path> {
        let second = (self.cgroup2 != self.cpu).then_some(self.cgroup2.as_path());
        [self.cpu.as_path()].into_iter().chain(second)
    }

    /// Makes the run's groups with one group per node in them.
    pub fn create(&self, run: &RunName, nodes: &[&str]) -> Result<()> {
        for tree in self.trees() {
            let folder = tree.join(run.text());
            let make =
                |path: &Path| fs::create_dir(path).with_context(|| format!("create {}", path.display()));
            make(&folder)?;
            if self.version == CpuController::V2 {
                // Down to the nodes; the groups above them hold no processes of their own.
                for parent in [tree, &folder] {
                    let file = parent.join("cgroup.subtree_control");
                    fs::write(&file, "+cpu").with_context(|| format!("write +cpu to {}", file.display()))?;
                }
            }
            nodes.iter().try_for_each(|node| make(&folder.join(node)))?;
        }
        Ok(())
    }

    /// Ends whatever is still in the run's groups and removes them. What cannot be removed is
    /// reported and left.
    pub fn remove(&self, run: &RunName) {
        for tree in self.trees() {
            let folder = tree.join(run.text());
            if let Err(error) = remove_group(&folder) {
                tracing::warn!("remove {}: {error}", folder.display());
            }
        }
    }

    /// Runs that have groups here.
    pub fn runs(&self) -> Vec<RunName> {
        let entries = self.trees().filter_map(|tree| fs::read_dir(tree).ok()).flatten().flatten();
        entries
            .filter_map(|entry| {
                let run = RunName::of(entry.file_name().to_str()?)?;
                (entry.file_name().to_str()? == run.text()).then_some(run)
            })
            .collect()
    }

    /// Limits a group's CPU time to `quota` per 100 ms; `None` takes the limit away.
    ///
    /// # Errors
    /// The kernel refuses it, as it does a quota below 1 ms.
    pub fn limit(&self, cpu_group: &Path, quota: Option<Duration>) -> Result<()> {
        let quota_us = quota.map(|quota| quota.as_micros());
        let set = |file: &str, value: String| {
            let path = cpu_group.join(file);
            fs::write(&path, &value).with_context(|| format!("write {value:?} to {}", path.display()))
        };
        match self.version {
            CpuController::V1 => {
                set("cpu.cfs_period_us", PERIOD_US.to_string())?;
                set("cpu.cfs_quota_us", quota_us.map_or("-1".to_owned(), |us| us.to_string()))
            }
            CpuController::V2 => {
                let quota = quota_us.map_or("max".to_owned(), |us| us.to_string());
                set("cpu.max", format!("{quota} {PERIOD_US}"))
            }
        }
    }
}

/// Removes a group with all groups below it, killing what is in them. One that does not exist is
/// removed already.
fn remove_group(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_group(&entry.path())?;
    }
    let deadline = Instant::now() + DYING;
    loop {
        for pid in members(folder) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        match fs::remove_dir(folder) {
            // Its last process is still dying.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            done => return done,
        }
    }
}

/// The processes in a group.
fn members(folder: &Path) -> Vec<i32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    // 0 stands for a process of another pid namespace; to kill(2) it would be our own group.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// Moves the calling process into the group at `folder`.
pub(crate) fn join(folder: &Path) -> Result<()> {
    let file = folder.join("cgroup.procs");
    fs::write(&file, std::process::id().to_string()).with_context(|| format!("join {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn hybrid_machines_have_two_trees() {
        let found = Mounts::parse(HYBRID, |_| false).unwrap();
        assert_eq!(found.cpu, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!((found.version, found.trees().count()), (CpuController::V1, 2));
    }

    #[test]
    fn machines_of_version_2_have_one_tree() {
        let text = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Mounts::parse(text, |_| true).unwrap();
        assert_eq!((found.version, found.trees().count()), (CpuController::V2, 1));
        let without = Mounts::parse(text, |_| false).unwrap_err().to_string();
        assert!(without.contains("/sys/fs/cgroup/cgroup.controllers"), "{without}");
    }

    #[test]
    fn a_machine_without_cgroup2_is_refused() {
        let only_cpuset = HYBRID.lines().nth(1).unwrap();
        assert!(Mounts::parse(only_cpuset, |_| true).is_err());
    }

    #[test]
    fn a_limit_is_written_the_way_of_the_controllers_version() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path();
        let read = |file: &str| fs::read_to_string(group.join(file)).unwrap();
        let mounts = |version| Mounts { cpu: group.into(), version, cgroup2: group.into() };
        let quota = Some(Duration::from_millis(20));
        mounts(CpuController::V2).limit(group, quota).unwrap();
        assert_eq!(read("cpu.max"), "20000 100000");
        mounts(CpuController::V2).limit(group, None).unwrap();
        assert_eq!(read("cpu.max"), "max 100000");
        mounts(CpuController::V1).limit(group, quota).unwrap();
        assert_eq!((read("cpu.cfs_quota_us"), read("cpu.cfs_period_us")), ("20000".into(), "100000".into()));
        mounts(CpuController::V1).limit(group, None).unwrap();
        assert_eq!(read("cpu.cfs_quota_us"), "-1");
    }
}
