//! A file system in the format that a kernel unpacks at its start: cpio, "newc".
//!
//! Written here and not by `cpio`: nothing has to be laid out on disk first, and no file gets a
//! time or an owner of this machine. Uncompressed: an emulated machine unpacks slower than it reads.
//!
//! **Source**: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeSet;
use std::path::Path;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive in the making.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<String>,
}

impl Archive {
    /// Adds a file that may be read and executed, with the folders above it. `path` begins at the root,
    /// with a slash.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        let above: Vec<_> = Path::new(path).ancestors().skip(1).collect();
        for folder in above.into_iter().rev() {
            self.folder(&folder.to_string_lossy());
        }
        self.entry(path.trim_start_matches('/'), PROGRAM, content);
    }

    fn folder(&mut self, path: &str) {
        let name = path.trim_start_matches('/');
        if !name.is_empty() && self.folders.insert(name.to_owned()) {
            self.entry(name, FOLDER, &[]);
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let links = if mode == FOLDER { 2 } else { 1 };
        // An initial file system of 4 GiB would not fit the machine either.
        let (length, name_length) = (content.len() as u32, name.len() as u32 + 1);
        // inode, mode, user, group, links, time, size, device and special device (two numbers
        // each), length of the name with its end, no checksum.
        let fields = [self.entries, mode, 0, 0, links, 0, length, 0, 0, 0, 0, name_length, 0]
            .map(|f| format!("{f:08x}"));
        self.bytes.extend_from_slice(b"070701");
        self.bytes.extend_from_slice(fields.concat().as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Headers and contents begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode and content of every entry but the last, which must be the trailer.
    fn entries(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |index: usize| {
                let at = 6 + index * 8;
                u32::from_str_radix(std::str::from_utf8(&bytes[at..at + 8]).unwrap(), 16).unwrap()
            };
            let (mode, size, name) = (field(1), field(6) as usize, field(11) as usize);
            let text = String::from_utf8(bytes[110..110 + name - 1].to_vec()).unwrap();
            assert_eq!(bytes[110 + name - 1], 0);
            let from = (110 + name).next_multiple_of(4);
            entries.push((text, mode, bytes[from..from + size].to_vec()));
            bytes = &bytes[(from + size).next_multiple_of(4)..];
            if bytes.is_empty() {
                assert_eq!(entries.pop().unwrap().0, "TRAILER!!!");
                return entries;
            }
        }
    }

    #[test]
    fn folders_come_once_and_before_what_is_in_them() {
        let mut archive = Archive::default();
        archive.file("/lib/a/one", b"12345");
        archive.file("/lib/a/two", b"");
        archive.file("/init", b"x");
        let names: Vec<_> =
            entries(&archive.finish()).into_iter().map(|entry| (entry.0, entry.1, entry.2)).collect();
        let expected = [
            ("lib", FOLDER, &b""[..]),
            ("lib/a", FOLDER, b""),
            ("lib/a/one", PROGRAM, b"12345"),
            ("lib/a/two", PROGRAM, b""),
            ("init", PROGRAM, b"x"),
        ];
        assert_eq!(names, expected.map(|(name, mode, content)| (name.to_owned(), mode, content.to_vec())));
    }
}
