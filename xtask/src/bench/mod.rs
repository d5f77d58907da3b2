//! `cargo xtask bench`: what Insight itself costs.
//!
//! A bench is a command that prints a table. None is a test: figures of a shared machine are bounds
//! and ratios, and a test that fails when a neighbour compiles teaches people to ignore it.

mod half;
mod kernel;
mod load;
mod process;
mod programs;
mod report;
mod rounds;
mod setting;
mod statistics;

use anyhow::Result;
use std::path::Path;

/// The benches.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Bench {
    /// What the agent's kernel half costs a forwarder under full load (as root, about 20 s a round)
    Kernel(kernel::Args),
}

/// Runs one.
///
/// # Errors
/// Something could not be started, or nothing could be measured.
pub fn run(root: &Path, bench: &Bench) -> Result<()> {
    match bench {
        Bench::Kernel(args) => kernel::run(root, args),
    }
}
