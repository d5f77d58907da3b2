//! `cargo xtask lab`: what the agent says, held against what was done to it.

mod truth;

use anyhow::Result;
use std::path::Path;
use std::process::ExitCode;

/// What is held against it.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Lab {
    /// Fill a table of traffic and kernel measurements: right, refused, or wrong and why (as root)
    Truth(truth::Args),
}

/// Runs one.
///
/// # Errors
/// Something could not be started, or nothing could be measured.
pub fn run(root: &Path, lab: &Lab) -> Result<ExitCode> {
    match lab {
        Lab::Truth(args) => truth::run(root, args),
    }
}
