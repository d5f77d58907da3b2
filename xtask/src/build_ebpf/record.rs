//! What lies beside the object: the sources and the toolchain it was built from.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The record's fields.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Record {
    /// The packages whose versions decide the bytes.
    pub toolchain: String,
    /// SHA-256 of the object.
    pub object: String,
    /// Digest of every source, by its name.
    pub sources: BTreeMap<String, String>,
}

impl Record {
    /// Reads the record.
    ///
    /// # Errors
    /// There is none, or it is not one.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("read {}: run `cargo xtask build-ebpf`", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{}: run `cargo xtask build-ebpf`", path.display()))
    }

    /// As text, sorted.
    pub fn render(&self) -> String {
        let mut text = String::from("# Written by `cargo xtask build-ebpf`, with the object beside it.\n");
        text += &format!("toolchain = \"{}\"\nobject = \"{}\"\n\n[sources]\n", self.toolchain, self.object);
        for (name, digest) in &self.sources {
            text += &format!("\"{name}\" = \"{digest}\"\n");
        }
        text
    }

    /// The first source that changed, came or went since. **None**: the record is up to date.
    pub fn stale_source<'a>(&'a self, now: &'a BTreeMap<String, String>) -> Option<&'a str> {
        let changed = now.iter().find(|(name, digest)| self.sources.get(*name) != Some(digest));
        let gone = self.sources.keys().find(|name| !now.contains_key(*name));
        changed.map(|(name, _)| name).or(gone).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect()
    }

    #[test]
    fn a_record_survives_writing_and_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.toml");
        let written = Record {
            toolchain: "rustc=1".into(),
            object: "00".into(),
            sources: sources(&[("a/b.rs", "11")]),
        };
        fs::write(&path, written.render()).unwrap();
        assert_eq!(Record::read(&path).unwrap(), written);
    }

    #[test]
    fn a_changed_a_new_and_a_removed_source_are_named() {
        let before = sources(&[("a.rs", "1"), ("b.rs", "1")]);
        let record = Record { toolchain: String::new(), object: String::new(), sources: before.clone() };
        assert_eq!(record.stale_source(&before), None);
        assert_eq!(record.stale_source(&sources(&[("a.rs", "1"), ("b.rs", "2")])), Some("b.rs"));
        assert_eq!(
            record.stale_source(&sources(&[("a.rs", "1"), ("b.rs", "1"), ("c.rs", "1")])),
            Some("c.rs")
        );
        assert_eq!(record.stale_source(&sources(&[("b.rs", "1")])), Some("a.rs"));
    }
}
