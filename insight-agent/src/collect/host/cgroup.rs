//! Where are a process' CPU quota and its throttling told?
//!
//! **Source**: `/proc/PID/cgroup` says in which group a process is, for each hierarchy; the first
//! process' `mountinfo` where that hierarchy is mounted. Version 1 has a hierarchy with the `cpu`
//! controller; on a hybrid host a version 2 mount stands beside it without one. Both have
//! `cpu.stat`: throttled time is in ns in version 1 and in µs in version 2 (kernel documentation,
//! `scheduler/sched-bwc` and `admin-guide/cgroup-v2`).
//!
//! A quota may stand on any group above the process, as Kubernetes sets it on containers or on
//! pods. The nearest group that has one is read.

use super::detect::parse_groups;
use super::root::Source;
use procfs::process::MountInfo;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Groups above a process that are looked at: three times the depth of a container in a pod.
const MAX_DEPTH: usize = 16;

/// Where a version's groups with CPU figures are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    /// The group that is the mount's root.
    root: PathBuf,
    mount_point: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    One,
    Two,
}

/// The hierarchies that may have CPU figures, version 1 first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hierarchies {
    of: Vec<Hierarchy>,
    /// Every mount of control groups: the group that is its root, and where it is.
    mounts: Vec<(PathBuf, PathBuf)>,
}

/// One group's bandwidth control.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// Its folder, as the host calls it.
    pub(super) folder: PathBuf,
    pub(super) periods: u64,
    pub(super) throttled_periods: u64,
    pub(super) throttled_ns: u64,
    /// **None**: no limit.
    pub(super) quota: Option<Quota>,
}

/// How much CPU time a group may use in how much time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Quota {
    pub(super) cores: f64,
    pub(super) period: Duration,
}

impl Hierarchies {
    /// Empty when no mount is told.
    pub(super) fn read(source: &Source<'_>) -> Self {
        let of = source.read("proc/1/mountinfo", parse_mounts);
        of.or_else(|| source.read("proc/self/mountinfo", parse_mounts)).unwrap_or_default()
    }

    /// A group as `/proc/PID/cgroup` writes it, from that or from its folder.
    pub(super) fn path_of(&self, group: &Path) -> PathBuf {
        let inside =
            self.mounts.iter().find_map(|(root, mount)| Some(root.join(group.strip_prefix(mount).ok()?)));
        inside.unwrap_or_else(|| group.to_owned())
    }

    /// The nearest group of a process that has a quota; without one, its nearest with figures.
    /// **None**: the process has ended, or no group of it has CPU figures.
    pub(super) fn group(&self, source: &Source<'_>, pid: u32) -> Option<Group> {
        let groups = source.read(format!("proc/{pid}/cgroup"), parse_groups)?;
        self.of.iter().find_map(|hierarchy| {
            let group = groups.0.iter().find(|group| match hierarchy.version {
                Version::One => group.controllers.iter().any(|name| name == "cpu"),
                Version::Two => group.hierarchy == 0,
            })?;
            hierarchy.group(source, Path::new(&group.pathname))
        })
    }
}

impl Hierarchy {
    fn group(&self, source: &Source<'_>, path: &Path) -> Option<Group> {
        let below = path.strip_prefix(&self.root).ok()?;
        let mut nearest = None;
        for above in below.ancestors().take(MAX_DEPTH) {
            let folder = self.mount_point.join(above);
            let Some(group) = self.version.read(source, folder) else { continue };
            if group.quota.is_some() {
                return Some(group);
            }
            nearest = nearest.or(Some(group));
        }
        nearest
    }
}

impl Version {
    /// **None**: the folder has no figures of the CPU controller.
    fn read(self, source: &Source<'_>, folder: PathBuf) -> Option<Group> {
        let [periods, throttled_periods, throttled_ns] =
            source.read(folder.join("cpu.stat"), |text| self.parse_stat(text))??;
        let quota = match self {
            Self::One => {
                let quota = source.read(folder.join("cpu.cfs_quota_us"), parse_signed);
                let period = source.number(folder.join("cpu.cfs_period_us"));
                // -1 is no limit.
                quota.and_then(|quota| Quota::new(u64::try_from(quota).ok()?, period?))
            }
            Self::Two => source.read(folder.join("cpu.max"), parse_max).flatten(),
        };
        Some(Group { folder, periods, throttled_periods, throttled_ns, quota })
    }

    /// The three figures; `Some(None)`: the file is whole and has none, because the controller is
    /// not enabled for this group. **None**: a line that is no name and number.
    fn parse_stat(self, text: &str) -> Option<Option<[u64; 3]>> {
        let (mut periods, mut throttled, mut ns) = (None, None, None);
        for line in text.lines() {
            let (name, value) = line.split_once(' ')?;
            let value: u64 = value.trim_end().parse().ok()?;
            match (self, name) {
                (_, "nr_periods") => periods = Some(value),
                (_, "nr_throttled") => throttled = Some(value),
                (Self::One, "throttled_time") => ns = Some(value),
                (Self::Two, "throttled_usec") => ns = Some(value.saturating_mul(1000)),
                _ => {}
            }
        }
        Some(periods.zip(throttled).zip(ns).map(|((periods, throttled), ns)| [periods, throttled, ns]))
    }
}

impl Quota {
    /// **None**: a period of 0, which no kernel has.
    fn new(quota_us: u64, period_us: u64) -> Option<Self> {
        let period = Duration::from_micros(period_us);
        (period_us > 0).then(|| Self { cores: quota_us as f64 / period_us as f64, period })
    }
}

fn parse_signed(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// `cpu.max`; `Some(None)`: no limit. **None**: not two numbers.
fn parse_max(text: &str) -> Option<Option<Quota>> {
    let (quota, period) = text.trim().split_once(' ')?;
    let period = period.parse().ok()?;
    if quota == "max" { Some(None) } else { Quota::new(quota.parse().ok()?, period).map(Some) }
}

/// The mounts of control groups that may have CPU figures. **None**: one that is no mount.
pub(super) fn parse_mounts(text: &str) -> Option<Hierarchies> {
    let (mut of, mut mounts) = (Vec::new(), Vec::new());
    // Only these: the rest has file systems whose lines hold anything.
    for line in text.lines().filter(|line| line.contains(" - cgroup")) {
        let mount = MountInfo::from_line(line).ok()?;
        let (root, mount_point) = (PathBuf::from(mount.root), mount.mount_point);
        if mount.fs_type == "cgroup" || mount.fs_type == "cgroup2" {
            mounts.push((root.clone(), mount_point.clone()));
        }
        let version = match mount.fs_type.as_str() {
            "cgroup" if mount.super_options.contains_key("cpu") => Version::One,
            "cgroup2" => Version::Two,
            _ => continue,
        };
        of.push(Hierarchy { version, root, mount_point });
    }
    of.sort_by_key(|hierarchy| hierarchy.version);
    Some(Hierarchies { of, mounts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hybrid_host_has_version_one_before_version_two() {
        let text = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
            34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n\
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n";
        let found = parse_mounts(text).unwrap().of;
        assert_eq!(found.iter().map(|of| of.version).collect::<Vec<_>>(), [Version::One, Version::Two]);
        assert_eq!(found[0].mount_point, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(parse_mounts("41 31 - cgroup2\n"), None);
    }

    #[test]
    fn a_group_may_be_given_as_its_folder() {
        let text = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            31 23 0:28 /pod /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = parse_mounts(text).unwrap();
        let path_of = |group: &str| found.path_of(Path::new(group)).display().to_string();
        assert_eq!(path_of("/sys/fs/cgroup/cpu,cpuacct/edge"), "/edge");
        assert_eq!(path_of("/sys/fs/cgroup/unified/a/b"), "/pod/a/b");
        assert_eq!(path_of("/system.slice"), "/system.slice");
    }

    #[test]
    fn throttled_time_is_ns_in_version_one_and_us_in_version_two() {
        let one = Version::One.parse_stat("nr_periods 10\nnr_throttled 2\nthrottled_time 5000\n");
        assert_eq!(one, Some(Some([10, 2, 5000])));
        let two = Version::Two.parse_stat("usage_usec 9\nnr_periods 10\nnr_throttled 2\nthrottled_usec 5\n");
        assert_eq!(two, Some(Some([10, 2, 5000])));
        assert_eq!(Version::Two.parse_stat("usage_usec 9\n"), Some(None), "the controller is not enabled");
        assert_eq!(Version::One.parse_stat("nr_periods x\n"), None);
    }

    #[test]
    fn a_maximum_is_a_share_of_its_period() {
        let quota = Quota { cores: 0.5, period: Duration::from_millis(100) };
        assert_eq!(parse_max("50000 100000\n"), Some(Some(quota)));
        assert_eq!(parse_max("max 100000\n"), Some(None));
        for text in ["", "max\n", "x 100000\n", "5 0\n"] {
            assert_eq!(parse_max(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_mount_line_panics(line in "[a-z0-9,/ =:-]{0,40} - cgroup2?[a-z0-9, =]{0,20}", any in any::<String>()) {
            let _ = (parse_mounts(&line), parse_mounts(&any), parse_max(&any), Version::Two.parse_stat(&any));
        }
    }
}
