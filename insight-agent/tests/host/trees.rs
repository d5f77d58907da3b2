//! Captured trees, and copies of them that a test may change.

use insight_agent::collect::host::{HostReader, HostSettings, Root};
use insight_agent::model::host::{HostSnapshot, Selector};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub fn folder(tree: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host/trees").join(tree)
}

/// A copy of a tree, links as links.
pub fn copy(tree: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_into(&folder(tree), copy.path());
    copy
}

pub fn copy_into(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else if kind.is_dir() {
            copy_into(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Replaces `from` by `to` in a file, which must hold it.
pub fn edit(root: &Path, file: &str, from: &str, to: &str) {
    let path = root.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}: {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Every plain file below `root`, rising.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(self::files(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

pub fn reader(root: &Path, selectors: &[Selector]) -> HostReader {
    let settings =
        HostSettings { selectors: selectors.to_vec(), node_metrics: true, period: Duration::from_secs(5) };
    HostReader::new(Root::new(root), settings)
}

/// One reading.
pub fn read(root: &Path, selectors: &[Selector]) -> HostSnapshot {
    reader(root, selectors).read(Instant::now())
}

/// nginx by its name.
pub fn nginx() -> Selector {
    Selector { name: "edge".into(), process: Some("nginx".into()), ..Selector::default() }
}
