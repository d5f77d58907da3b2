//! `cargo xtask codegen`: generates Rust from `proto/`, without protoc.

use anyhow::{Context, Result, bail};
use prost::Message;
use std::fs;
use std::path::{Path, PathBuf};

/// The protocol files, relative to `proto/`.
const FILES: [&str; 2] = ["insight/v1/node.proto", "insight/v1/probe.proto"];

/// Generates into `insight-agent/src/proto`, or with `check` into a temporary folder and compares.
///
/// # Errors
/// A .proto file does not compile, a file cannot be written, or (with `check`) the committed
/// files differ from what would be generated.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let committed = root.join("insight-agent/src/proto");
    if !check {
        return generate(&root.join("proto"), &committed);
    }
    let scratch = tempfile::tempdir().context("create a temporary folder")?;
    generate(&root.join("proto"), scratch.path())?;
    for name in generated(scratch.path())? {
        let fresh = fs::read(scratch.path().join(&name))?;
        let path = committed.join(&name);
        if fs::read(&path).ok().as_deref() != Some(&fresh) {
            bail!("{} is not what proto/ generates: run `cargo xtask codegen` and commit it", path.display());
        }
    }
    Ok(())
}

fn generated(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(PathBuf::from(entry?.file_name()));
    }
    names.sort();
    Ok(names)
}

fn generate(proto: &Path, out: &Path) -> Result<()> {
    let descriptors = protox::compile(FILES, [proto]).context("compile proto/")?;
    fs::write(out.join("insight.v1.fds"), descriptors.encode_to_vec())
        .with_context(|| format!("write {}", out.display()))?;
    tonic_prost_build::configure()
        .out_dir(out)
        .build_transport(false)
        .bytes(".insight.v1")
        .compile_fds(descriptors)
        .context("generate Rust from proto/")
}
