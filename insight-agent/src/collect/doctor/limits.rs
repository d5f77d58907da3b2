//! How much memory may this process have, and lock?
//!
//! **Source**: `/proc/self/limits`; `memory.max` (version 2) or `memory.limit_in_bytes` (version 1) of
//! the process' control group and of all above it, as far as they are mounted.

use crate::collect::host::Source;
use crate::model::doctor::MemoryLimit;
use procfs::process::MountInfo;
use std::path::Path;

/// What version 1 writes where there is no limit: the largest number of whole pages.
const UNLIMITED: u64 = i64::MAX as u64 / 4096 * 4096;

/// The soft limit of "Max locked memory". `Some(None)`: unlimited. **None**: no such line.
pub(super) fn memlock(text: &str) -> Option<Option<u64>> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

/// The lowest limit on the way from the process' control group to the root.
pub(super) fn memory(source: &Source<'_>) -> Option<MemoryLimit> {
    let groups = source.text("proc/self/cgroup")?;
    let mounts = source.text("proc/self/mountinfo")?;
    let mounts = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let mut lowest: Option<MemoryLimit> = None;
    for mount in mounts.filter_map(|line| MountInfo::from_line(line).ok()) {
        let (file, controller) = match mount.fs_type.as_str() {
            "cgroup2" => ("memory.max", ""),
            "cgroup" if mount.super_options.contains_key("memory") => ("memory.limit_in_bytes", "memory"),
            _ => continue,
        };
        let own = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|name| name == controller).then_some(path)
        });
        // A group outside of what is mounted cannot be looked at.
        let Some(below) = own.and_then(|path| Path::new(path).strip_prefix(&mount.root).ok()) else {
            continue;
        };
        for above in below.ancestors() {
            let path = mount.mount_point.join(above).join(file);
            // `max` is no number, and no limit.
            let Some(bytes) = source.text(&path).and_then(|text| text.parse().ok()) else { continue };
            if bytes < UNLIMITED && lowest.as_ref().is_none_or(|lowest| bytes < lowest.bytes) {
                lowest = Some(MemoryLimit { bytes, file: path.display().to_string() });
            }
        }
    }
    lowest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::host::Root;
    use std::fs;

    #[test]
    fn locked_memory_is_a_number_or_unlimited() {
        let line = |value: &str| format!("Limit   Soft   Hard\nMax locked memory    {value}   9   bytes\n");
        assert_eq!(memlock(&line("8388608")), Some(Some(8_388_608)));
        assert_eq!(memlock(&line("unlimited")), Some(None));
        assert_eq!(memlock("Max open files 1 2 files\n"), None);
    }

    /// The limit of a process in group `own`, with these files.
    fn limit(own: &str, mount: &str, files: &[(&str, &str)]) -> Option<MemoryLimit> {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/self/cgroup", own);
        write("proc/self/mountinfo", mount);
        files.iter().for_each(|(path, text)| write(path, text));
        memory(&Source::new(&Root::new(folder.path())))
    }

    #[test]
    fn the_lowest_limit_above_a_process_counts() {
        let mount = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let files = [
            ("/sys/fs/cgroup/pods/a/memory.max", "max\n"),
            ("/sys/fs/cgroup/pods/memory.max", "104857600\n"),
        ];
        let found = limit("0::/pods/a\n", mount, &files).unwrap();
        assert_eq!((found.bytes, found.file.as_str()), (104_857_600, "/sys/fs/cgroup/pods/memory.max"));
        assert_eq!(limit("0::/other\n", mount, &files), None);
    }

    #[test]
    fn version_one_has_a_number_for_no_limit() {
        let mount = "35 31 0:32 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let file = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        let with = |text| limit("4:memory:/docker/x\n0::/\n", mount, &[(file, text)]);
        assert_eq!(with("9223372036854771712\n"), None);
        assert_eq!(with("67108864\n").map(|limit| limit.bytes), Some(67_108_864));
        assert_eq!(limit("4:memory:/elsewhere\n", mount, &[(file, "1\n")]), None);
    }
}
