//! `cargo xtask docs`: writes the documents that are generated out of the code.
//!
//! The generator is a test of the agent, `insight-agent/tests/docs.rs`, and not a part of this
//! program: as a library below xtask, the agent would be compiled before every command.

use crate::cargo;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Stdio;

/// Tells the test to write, and not to compare.
const UPDATE: &str = "INSIGHT_UPDATE";

/// Writes `docs/metrics.md`, or with `check` compares it with what would be written.
///
/// # Errors
/// The agent does not compile, a document cannot be written, or (with `check`) one is stale.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let mut command = cargo::command(root);
    // With the features of the whole workspace, as all other steps: nothing is compiled twice.
    command.args(["test", "--workspace", "--test", "docs", "--locked", "--quiet"]).stdin(Stdio::null());
    if check {
        command.env_remove(UPDATE);
    } else {
        command.env(UPDATE, "1");
    }
    let status = command.status().context("run cargo test of the documents")?;
    match (status.success(), check) {
        (true, _) => Ok(()),
        (false, true) => bail!("a generated document is stale: run `cargo xtask docs` and commit it"),
        (false, false) => bail!("the documents were not written: see above"),
    }
}
