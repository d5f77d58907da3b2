//! `cargo xtask build-ebpf`: builds the kernel half, byte for byte the same wherever it is built.
//!
//! The object is committed, so that users need stable Rust alone. Beside it lies a record of the
//! sources and of the toolchain it came from; [`Record`] says when the two no longer agree.

mod digest;
mod outline;
mod record;
mod toolchain;

use crate::cargo;
use crate::command::succeed;
use anyhow::{Context, Result, bail};
use record::Record;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use toolchain::Toolchain;

pub use toolchain::missing as missing_toolchain;

/// The committed object, below the checkout.
const OBJECT: &str = "insight-ebpf/prebuilt/insight.bpf.o";

/// What it was built from, below the checkout.
const RECORD: &str = "insight-ebpf/prebuilt/insight.bpf.toml";

/// The object that writes lines for people, below the checkout; never committed.
const LOGGING_OBJECT: &str = "target/bpf/insight-kernel-log.bpf.o";

/// The feature that it is built with.
const LOGGING: &str = "kernel-log";

/// The kernel's own instruction set, little endian.
const TARGET: &str = "bpfel-unknown-none";

/// Installs what is missing, builds, and writes the object with its record; with `check` compares
/// them with what is committed instead.
///
/// # Errors
/// The toolchain cannot be installed, the kernel half does not compile, or (with `check`) the
/// committed object is not what the sources build.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let toolchain = Toolchain::install(&root.join("target/tools"))?;
    let fresh = build(root, &toolchain, None)?;
    let record = Record {
        toolchain: toolchain.identity(root)?,
        object: digest::of_bytes(&fresh),
        sources: digest::of_sources(root)?,
    };
    let (object, listing) = (root.join(OBJECT), root.join(RECORD));
    if check {
        return compare(root, &toolchain, &fresh, &record);
    }
    fs::create_dir_all(object.parent().context("prebuilt/ is a folder")?)?;
    fs::write(&object, &fresh).with_context(|| format!("write {}", object.display()))?;
    fs::write(&listing, record.render()).with_context(|| format!("write {}", listing.display()))?;
    println!("{OBJECT}: {} bytes, sha256 {}", fresh.len(), record.object);
    Ok(())
}

/// Installs what is missing, and builds the object that an agent with the feature `kernel-log`
/// reads. It is for debugging: nothing compares it with anything.
///
/// # Errors
/// The toolchain cannot be installed, or the kernel half does not compile.
pub fn run_logging(root: &Path) -> Result<()> {
    let toolchain = Toolchain::install(&root.join("target/tools"))?;
    let object = build(root, &toolchain, Some(LOGGING))?;
    let path = root.join(LOGGING_OBJECT);
    fs::write(&path, &object).with_context(|| format!("write {}", path.display()))?;
    println!("{LOGGING_OBJECT}: {} bytes", object.len());
    Ok(())
}

/// Compares a fresh build with what is committed.
fn compare(root: &Path, toolchain: &Toolchain, fresh: &[u8], record: &Record) -> Result<()> {
    let committed = Record::read(&root.join(RECORD))?;
    if let Some(stale) = committed.stale_source(&record.sources) {
        bail!("{OBJECT}: {stale} changed after it was built: run `cargo xtask build-ebpf` and commit it");
    }
    let bytes = fs::read(root.join(OBJECT)).with_context(|| format!("read {OBJECT}"))?;
    if committed.toolchain == record.toolchain {
        if bytes != fresh {
            bail!(
                "{OBJECT}: the same sources and toolchain now build other bytes: run `cargo xtask build-ebpf`"
            );
        }
        println!("{OBJECT}: equal to a fresh build, byte for byte");
        return Ok(());
    }
    println!("{OBJECT} was built by another toolchain: comparing programs, maps and globals");
    println!("  then: {}\n  now:  {}", committed.toolchain, record.toolchain);
    let (then, now) = (outline::of(toolchain, &bytes)?, outline::of(toolchain, fresh)?);
    if then != now {
        bail!("{OBJECT}: other programs, maps or globals than its sources build:\nthen\n{then}\nnow\n{now}");
    }
    Ok(())
}

/// Compiles and links, and strips what only a debugger reads. The BTF stays.
fn build(root: &Path, toolchain: &Toolchain, feature: Option<&str>) -> Result<Vec<u8>> {
    // Sources must lie unpacked before their folder's name can be mapped away.
    succeed(cargo::command(root).args(["fetch", "--quiet", "--locked"]))?;
    let target = root.join("target/bpf");
    let mut command = cargo::command(root);
    command
        .args(["build", "--quiet", "--locked", "-p", "insight-ebpf", "--profile", "bpf"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target)
        .args(feature.iter().flat_map(|feature| ["--features", feature]))
        .env("RUSTC", toolchain.rustc())
        // The compiler's own crates for this target use features that are not stable yet.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("PATH", search_path(toolchain)?)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(root)?)
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTFLAGS");
    succeed(&mut command)?;
    let scratch = tempfile::tempdir().context("create a temporary folder")?;
    let stripped = scratch.path().join("insight.bpf.o");
    let built = target.join(TARGET).join("bpf/insight-ebpf");
    let mut strip = Command::new(toolchain.llvm("llvm-strip"));
    succeed(strip.arg("--strip-debug").arg("-o").arg(&stripped).arg(&built))?;
    fs::read(&stripped).with_context(|| format!("read {}", stripped.display()))
}

/// One architecture's bindings whatever the host's, BTF, and no path of this machine: both the
/// checkout's and the registry's would otherwise stand in the BTF.
fn flags(root: &Path) -> Result<OsString> {
    let mut flags = vec![
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("--remap-path-prefix={}=/insight", root.display()),
    ];
    let sources = cargo_home()?.join("registry/src");
    let listed = fs::read_dir(&sources).with_context(|| format!("list {}", sources.display()))?;
    let mut folders: Vec<PathBuf> = listed.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    folders.sort();
    flags.extend(folders.iter().map(|folder| format!("--remap-path-prefix={}=/cargo", folder.display())));
    Ok(flags.join("\x1f").into())
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").context("find cargo's folder: neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

fn search_path(toolchain: &Toolchain) -> Result<OsString> {
    let before = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(toolchain.bin()).chain(std::env::split_paths(&before));
    std::env::join_paths(folders).context("put bpf-linker's folder on the search path")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs no toolchain: what is committed must belong together.
    #[test]
    fn the_committed_object_is_built_from_these_sources() {
        let root = crate::workspace_root().unwrap();
        let record = Record::read(&root.join(RECORD)).unwrap();
        let sources = digest::of_sources(&root).unwrap();
        let stale = record.stale_source(&sources);
        assert_eq!(stale, None, "the object is older than this: run `cargo xtask build-ebpf` and commit it");
        let object = digest::of_bytes(&fs::read(root.join(OBJECT)).unwrap());
        assert_eq!(
            object, record.object,
            "{OBJECT} is not the one {RECORD} describes: run `cargo xtask build-ebpf`"
        );
    }
}
