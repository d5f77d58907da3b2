//! `cargo xtask fmt`: formats all of the code.
//!
//! `cargo fmt` follows `mod` lines, and the files of the kernel measurements have none: their
//! modules are declared out of the list in `insight-common`. So their folders are formatted file
//! by file.

use crate::cargo;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders with modules that a macro declares.
const FOLDERS: [&str; 3] =
    ["insight-ebpf/src", "insight-agent/src/collect/kernel", "insight-agent/src/model/series"];

/// Formats, or with `check` finds what is not formatted.
///
/// # Errors
/// A file is not formatted (with `check`), does not parse, or the formatter is missing.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let mut whole = cargo::command(root);
    whole.args(["fmt", "--all"]);
    let mut single = Command::new("rustfmt");
    single.current_dir(root).args(["--edition", "2024"]).args(unlinked(root)?);
    let mut unformatted = false;
    for mut command in [whole, single] {
        if check {
            command.arg("--check");
        }
        unformatted |= !command.status().context("run rustfmt, a component of the Rust toolchain")?.success();
    }
    if unformatted {
        bail!("not everything is formatted: run `cargo xtask fmt`");
    }
    Ok(())
}

/// The Rust files right in [`FOLDERS`].
fn unlinked(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        let folder = root.join(folder);
        let entries = fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
            // These are followed by `cargo fmt` already, and lead to it once more.
            let is_root = ["mod.rs", "main.rs"].iter().any(|name| path.ends_with(name));
            if path.extension().is_some_and(|extension| extension == "rs") && !is_root {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measurements_files_are_found_and_roots_are_not() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let files = unlinked(root).unwrap();
        for folder in FOLDERS {
            assert!(files.contains(&root.join(folder).join("receive_wait.rs")), "{folder}: {files:?}");
        }
        assert!(!files.iter().any(|file| file.ends_with("mod.rs") || file.ends_with("main.rs")));
    }
}
