//! The cgroup that `sock_ops` is attached to, and that sockets are compared with.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A cgroup of version 2.
#[derive(Debug)]
pub struct Cgroup {
    /// Its folder, opened: what a program is attached to.
    pub folder: File,
    /// The kernel's id of it: the number of its inode.
    pub id: u64,
    /// How deep it lies below the root of its file system. 0: it is the root.
    pub level: u32,
}

/// The cgroup at `path`, or the root of the hierarchy.
///
/// # Errors
/// There is no cgroup2 file system, `path` is not on it, or cannot be opened.
pub fn cgroup(mountinfo: &str, path: Option<&Path>) -> io::Result<Cgroup> {
    let root = cgroup2_mount(mountinfo).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "no cgroup2 file system is mounted: mount one, or disable socket_rtt",
        )
    })?;
    let path = path.unwrap_or(&root);
    let below = path.strip_prefix(&root).map_err(|_| {
        let text = format!("scope {}: not below the cgroup2 mount {}", path.display(), root.display());
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })?;
    let level = below.components().count() as u32;
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("open cgroup {}: {error}", path.display()));
    let folder = File::open(path).map_err(named)?;
    let id = folder.metadata().map_err(named)?.ino();
    Ok(Cgroup { folder, id, level })
}

/// Where the cgroup2 file system is mounted, out of `/proc/self/mountinfo`. On a hybrid host it is
/// not `/sys/fs/cgroup`. **None**: it is not mounted.
pub fn cgroup2_mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?;
        (after.split(' ').next() == Some("cgroup2")).then(|| PathBuf::from(point.replace("\\040", " ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_by_its_type_wherever_it_lies() {
        let hybrid = "31 25 0:27 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro\n\
                      32 31 0:28 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_mount(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(cgroup2_mount("31 25 0:27 / /sys/fs/cgroup rw - cgroup cgroup rw\n"), None);
        assert_eq!(cgroup2_mount("cut short"), None);
    }

    #[test]
    fn a_folder_beside_the_mount_is_no_scope() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        let info = format!("1 1 0:1 / {root} rw - cgroup2 x rw\n");
        std::fs::create_dir(folder.path().join("a")).unwrap();
        assert_eq!(cgroup(&info, Some(&folder.path().join("a"))).unwrap().level, 1);
        assert_eq!(cgroup(&info, None).unwrap().level, 0);
        assert_eq!(cgroup(&info, Some(Path::new("/"))).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(cgroup("", None).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
