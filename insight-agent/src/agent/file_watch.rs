//! Is the configuration file another one than before?
//!
//! The file's metadata are looked at again and again, and not its folder watched: an editor replaces the
//! file by a rename, and a Kubernetes ConfigMap swaps a symbolic link two folders above it. Both show in
//! what the path leads to, and neither in events of the file itself.

use super::reload::{Reloader, Trigger};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks. People wait for it; half of it would be a system call more that tells nothing.
const EVERY: Duration = Duration::from_secs(2);

/// For how long the file has to stay as it is before it is read: what writes it may not be done.
const SETTLED: Duration = Duration::from_millis(500);

/// What tells two files apart without reading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Seen {
    /// What the path leads to now. Blocking: one system call. **None**: nothing, or nobody may know.
    pub fn at(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            length: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
        })
    }
}

/// Has the file read again whenever it is another one than the last that was read; never ends. A file that
/// is not there is waited for. **`read`**: what was seen before the file was read for the start.
pub async fn watch(reloader: Arc<Reloader>, read: Option<Seen>) {
    let mut read = read;
    loop {
        tokio::time::sleep(EVERY).await;
        let mut seen = Seen::at(reloader.path());
        if seen.is_none() || seen == read {
            continue;
        }
        loop {
            tokio::time::sleep(SETTLED).await;
            let again = Seen::at(reloader.path());
            if again == seen {
                break;
            }
            seen = again;
        }
        if seen.is_some() && seen != read {
            read = seen;
            // What became of it is logged; a bad file is read again when it is another one.
            let _ = reloader.reload(Trigger::FileChange).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_replaced_by_rename_or_by_a_swapped_link_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "same").unwrap();
        let first = Seen::at(&at("file"));
        assert_eq!(Seen::at(&at("file")), first, "reading it again changes nothing");
        fs::write(at("new"), "same").unwrap();
        fs::rename(at("new"), at("file")).unwrap();
        assert_ne!(Seen::at(&at("file")), first);

        for version in ["v1", "v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("file"), "same").unwrap();
        }
        let link = |to: &str| {
            std::os::unix::fs::symlink(to, at("link")).unwrap();
            fs::rename(at("link"), at("data")).unwrap();
        };
        link("v1");
        std::os::unix::fs::symlink("data/file", at("mounted")).unwrap();
        let first = Seen::at(&at("mounted"));
        link("v2");
        assert_ne!(Seen::at(&at("mounted")), first);
        fs::remove_file(at("data")).unwrap();
        assert_eq!(Seen::at(&at("mounted")), None);
    }
}
