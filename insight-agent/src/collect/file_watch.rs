//! Are files other ones than before?
//!
//! Their metadata are looked at again and again, and not their folders watched: an editor replaces a file by
//! a rename, and a Kubernetes ConfigMap swaps a symbolic link two folders above it. Both show in what the
//! path leads to, and neither in events of the file itself.

use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// How often files are looked at.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Between two looks. People wait for it; half of it would be a system call more that tells nothing.
    every: Duration,
    /// For how long a file has to stay as it is before it is read: what writes it may not be done.
    settled: Duration,
    /// After this long a file that never stays as it is is read all the same: one of many that are written
    /// in turn must not hold up the others for ever.
    restless: Duration,
}

const PACE: Pace = Pace {
    every: Duration::from_secs(2),
    settled: Duration::from_millis(500),
    restless: Duration::from_secs(10),
};

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

/// Looks until there is another thing to be seen than what is known, and it stays so for a moment; gives
/// that. **`unchanged`** hears of each look that found what is known.
///
/// Cancelling it loses nothing.
pub async fn another<T, L, U>(known: &T, look: impl FnMut() -> L, unchanged: impl FnMut() -> U) -> T
where
    T: PartialEq,
    L: Future<Output = T>,
    U: Future<Output = ()>,
{
    another_at(PACE, known, look, unchanged).await
}

async fn another_at<T, L, U>(
    pace: Pace,
    known: &T,
    mut look: impl FnMut() -> L,
    mut unchanged: impl FnMut() -> U,
) -> T
where
    T: PartialEq,
    L: Future<Output = T>,
    U: Future<Output = ()>,
{
    loop {
        tokio::time::sleep(pace.every).await;
        let mut seen = look().await;
        let since = Instant::now();
        while seen != *known {
            tokio::time::sleep(pace.settled).await;
            let again = look().await;
            if again == seen || since.elapsed() > pace.restless {
                break;
            }
            seen = again;
        }
        if seen != *known {
            return seen;
        }
        unchanged().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};

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

    /// What `another` gives when the looks find these in turn, and then the last one for ever.
    async fn found(known: u32, looks: &[u32]) -> u32 {
        let turn = AtomicU32::new(0);
        let look = || {
            let turn = turn.fetch_add(1, Ordering::Relaxed) as usize;
            std::future::ready(looks[turn.min(looks.len() - 1)])
        };
        let ms = Duration::from_millis;
        let pace = Pace { every: ms(1), settled: ms(1), restless: ms(50) };
        another_at(pace, &known, look, || std::future::ready(())).await
    }

    #[tokio::test]
    async fn what_is_still_being_written_is_waited_for() {
        assert_eq!(found(1, &[1, 1, 2, 3, 4, 4, 5]).await, 4);
        assert_eq!(found(1, &[2, 1, 1, 3, 3]).await, 3, "gone back to what is known");
    }

    #[tokio::test]
    async fn what_never_rests_is_taken_after_a_while() {
        let looks: Vec<u32> = (2..100_000).collect();
        assert!(found(1, &looks).await > 2);
    }
}
