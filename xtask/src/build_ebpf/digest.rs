//! Which files decide the object's bytes, and their digests.

use anyhow::{Context, Result};
use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Folders whose Rust files enter the object, below the checkout.
const FOLDERS: [&str; 2] = ["insight-common/src", "insight-ebpf/src"];

/// The two crates' manifests.
const MANIFESTS: [&str; 2] = ["insight-common/Cargo.toml", "insight-ebpf/Cargo.toml"];

/// What the kernel half depends on outside the workspace. Everything that the lock file lists
/// below it enters.
const DEPENDENCY: &str = "aya-ebpf";

/// SHA-256 in hexadecimal.
pub fn of_bytes(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Name (path below the checkout) and digest of everything that enters.
///
/// # Errors
/// A file cannot be read.
pub fn of_sources(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut digests = BTreeMap::new();
    for folder in FOLDERS {
        walk(root, folder, &mut digests)?;
    }
    for manifest in MANIFESTS {
        digests.insert(manifest.to_owned(), of_bytes(&read(root, manifest)?));
    }
    let lock = String::from_utf8(read(root, "Cargo.lock")?).context("read Cargo.lock")?;
    digests.insert(format!("Cargo.lock: {DEPENDENCY}"), of_bytes(locked(&lock, DEPENDENCY).as_bytes()));
    Ok(digests)
}

fn read(root: &Path, name: &str) -> Result<Vec<u8>> {
    fs::read(root.join(name)).with_context(|| format!("read {name}"))
}

fn walk(root: &Path, folder: &str, digests: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("list {folder}"))? {
        let entry = entry?;
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            walk(root, &name, digests)?;
        } else if name.ends_with(".rs") {
            digests.insert(name.clone(), of_bytes(&read(root, &name)?));
        }
    }
    Ok(())
}

/// The entries of a lock file that `package` needs, itself included, in the file's order.
fn locked(lock: &str, package: &str) -> String {
    let entries: Vec<&str> = lock.split("[[package]]").skip(1).collect();
    let mut wanted = BTreeSet::new();
    let mut open = vec![package];
    while let Some(name) = open.pop() {
        if wanted.insert(name) {
            open.extend(entries.iter().filter(|entry| name_of(entry) == name).flat_map(|entry| needs(entry)));
        }
    }
    entries.into_iter().filter(|entry| wanted.contains(name_of(entry))).collect()
}

fn name_of(entry: &str) -> &str {
    let line = entry.lines().find_map(|line| line.strip_prefix("name = "));
    line.unwrap_or_default().trim_matches('"')
}

/// Names below `dependencies`; a version that follows a name is left out.
fn needs(entry: &str) -> impl Iterator<Item = &str> {
    let listed = entry.lines().skip_while(|line| *line != "dependencies = [").skip(1);
    listed
        .take_while(|line| *line != "]")
        .filter_map(|line| line.trim().trim_matches(['"', ',']).split(' ').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1\"\ndependencies = [\n \"b\",\n \"c 2\",\n]\n\n\
        [[package]]\nname = \"b\"\nversion = \"1\"\n\n[[package]]\nname = \"c\"\nversion = \"2\"\n\n\
        [[package]]\nname = \"other\"\nversion = \"1\"\n";

    #[test]
    fn a_package_takes_what_it_needs_out_of_the_lock_file_and_no_more() {
        let taken = locked(LOCK, "a");
        assert!(["\"a\"", "\"b\"", "\"c\""].iter().all(|name| taken.contains(name)), "{taken}");
        assert!(!taken.contains("other"));
        assert!(!locked(LOCK, "b").contains("\"c\""));
    }

    #[test]
    fn a_digest_is_sha256_in_lower_case() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(of_bytes(b""), empty);
    }
}
