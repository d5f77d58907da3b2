//! `cargo xtask bench`: what Insight itself costs.
//!
//! A bench is a command that prints a table. None is a test: figures of a shared machine are bounds
//! and ratios, and a test that fails when a neighbour compiles teaches people to ignore it.

mod agent;
mod half;
mod http;
mod kernel;
mod load;
mod machine;
pub mod page;
mod process;
mod programs;
mod report;
mod rounds;
mod scrape;
mod scrapes;
mod setting;
mod statistics;

use anyhow::Result;
use std::path::Path;

/// The benches.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Bench {
    /// What the agent's kernel half costs a forwarder under full load (as root, about 20 s a round)
    Kernel(kernel::Args),
    /// What a scrape of many series costs, and what it does to the probes
    Scrape(scrape::Args),
    /// What an idle agent with its kernel half holds and uses beside many connections (as root)
    Agent(agent::Args),
    /// Holds connections for `bench agent`
    #[command(hide = true)]
    Hold(agent::hold::Args),
}

/// The form of a result on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs: one JSON object.
    Json,
}

/// Runs one.
///
/// # Errors
/// Something could not be started, or nothing could be measured.
pub fn run(root: &Path, bench: &Bench) -> Result<()> {
    match bench {
        Bench::Kernel(args) => kernel::run(root, args),
        Bench::Scrape(args) => scrape::run(root, args),
        Bench::Agent(args) => agent::run(root, args),
        Bench::Hold(args) => agent::hold::run(args),
    }
}
