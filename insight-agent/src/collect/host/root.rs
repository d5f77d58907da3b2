//! Where is the host's /proc, and what of it could not be understood?

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The longest file that is read. Sixteen times what `/proc/net/tcp` of 10,000 connections is; a
/// longer one is cut, and its last line with it.
const MAX_BYTES: u64 = 24 << 20;

/// A folder with the host's `proc` and `sys` below it: `/`, or where they are mounted in a
/// container, or a captured tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    path: PathBuf,
}

impl Default for Root {
    fn default() -> Self {
        Self::new("/")
    }
}

impl Root {
    /// The host whose `proc` and `sys` are below `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file that the host calls `path`, with or without the slash at its beginning.
    pub(in crate::collect) fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// Reads below a root and counts what made no sense.
#[derive(Debug)]
pub(in crate::collect) struct Source<'a> {
    root: &'a Root,
    unparsed: Cell<u64>,
}

impl<'a> Source<'a> {
    pub(in crate::collect) fn new(root: &'a Root) -> Self {
        Self { root, unparsed: Cell::new(0) }
    }

    /// How many files made no sense so far.
    pub(in crate::collect) fn unparsed(&self) -> u64 {
        self.unparsed.get()
    }

    /// What `parse` makes of a file. **None**: the file is not there or may not be read; or `parse`
    /// gave `None`, which is counted.
    ///
    /// Bytes that are no UTF-8 (a process may be called anything) become U+FFFD.
    pub(in crate::collect) fn read<T>(
        &self,
        path: impl AsRef<Path>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let bytes = self.bytes(path.as_ref()).ok()?;
        let parsed = parse(&String::from_utf8_lossy(&bytes));
        if parsed.is_none() {
            self.unparsed.set(self.unparsed.get() + 1);
        }
        parsed
    }

    /// A file's content without white space at its ends. **None**: not there.
    pub(in crate::collect) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        self.read(path, |text| Some(text.trim().to_owned()))
    }

    /// A file of one number. **None**: not there, or none.
    pub(in crate::collect) fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.read(path, |text| text.trim().parse().ok())
    }

    /// Where a link leads. **None**: not there, or it may not be read.
    pub(in crate::collect) fn link(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        fs::read_link(self.root.join(path)).ok()
    }

    /// The names in a folder, in no order. Empty: not there, or it may not be read.
    pub(in crate::collect) fn names(&self, path: impl AsRef<Path>) -> Vec<OsString> {
        let entries = fs::read_dir(self.root.join(path));
        entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.file_name())).collect()
    }

    /// The names in a folder that are numbers, rising.
    pub(in crate::collect) fn numbers(&self, path: impl AsRef<Path>) -> Vec<u32> {
        let names = self.names(path).into_iter();
        let mut numbers: Vec<u32> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.root.join(path))?.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_no_loss_and_what_makes_no_sense_is_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("proc")).unwrap();
        fs::write(folder.path().join("proc/good"), "12\n").unwrap();
        fs::write(folder.path().join("proc/bad"), b"12 \xff\n").unwrap();
        let root = Root::new(folder.path());
        let source = Source::new(&root);
        let read = |path| source.read(path, |text| text.trim().parse::<u64>().ok());
        assert_eq!(read("/proc/good"), Some(12));
        assert_eq!((read("proc/absent"), source.unparsed()), (None, 0));
        assert_eq!((read("proc/bad"), source.unparsed()), (None, 1));
    }
}
