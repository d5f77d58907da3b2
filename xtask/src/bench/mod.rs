//! `cargo xtask bench`: what Insight itself costs.
//!
//! A bench is a command that prints a table. None is a test: figures of a shared machine are bounds
//! and ratios, and a test that fails when a neighbour compiles teaches people to ignore it.

pub mod agent;
pub mod apart;
mod beside;
pub mod half;
pub mod http;
mod kernel;
pub mod load;
pub mod machine;
pub mod page;
mod probe;
pub mod process;
pub mod programs;
pub mod ready;
mod report;
mod rounds;
mod scrape;
pub mod scrapes;
pub mod setting;
pub mod statistics;

use anyhow::{Context, Result, ensure};
use std::path::Path;

/// The benches.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Bench {
    /// What the agent's kernel half costs a forwarder under full load (as root, about 30 s a round)
    Kernel(kernel::Args),
    /// What a scrape of many series costs, and what it does to the probes
    Scrape(scrape::Args),
    /// What an idle agent with its kernel half holds and uses beside many connections (as root)
    Agent(agent::Args),
    /// How wrong a probe is, and how many a core can make
    Probe(probe::Args),
    /// Who is right about a target: a real blackbox_exporter and Insight (as root)
    Beside(beside::Args),
    /// Holds connections for `bench agent`
    #[command(hide = true)]
    Hold(agent::hold::Args),
}

/// The form of a result on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs: one JSON object.
    Json,
}

/// Asks for root, or what makes it: counting program runs is what needs most. `command` is what
/// stands behind `cargo xtask`.
///
/// # Errors
/// This process may not load kernel programs and read their counters.
pub fn require_privilege(command: &str) -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    ensure!(
        has_sys_admin(&status),
        "{command}: loading kernel programs and reading their counters needs root: run it as \
         `sudo env PATH=\"$PATH\" cargo xtask {command}`"
    );
    Ok(())
}

/// Whether `/proc/PID/status` grants CAP_SYS_ADMIN.
fn has_sys_admin(status: &str) -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << CAP_SYS_ADMIN) != 0)
}

/// Runs one.
///
/// # Errors
/// Something could not be started, or nothing could be measured.
pub fn run(root: &Path, bench: &Bench) -> Result<()> {
    match bench {
        Bench::Kernel(args) => kernel::run(root, args),
        Bench::Scrape(args) => scrape::run(root, args),
        Bench::Probe(args) => probe::run(root, args),
        Bench::Agent(args) => agent::run(root, args),
        Bench::Beside(args) => beside::run(root, args),
        Bench::Hold(args) => agent::hold::run(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privilege_is_told_by_the_capability_and_not_by_the_user() {
        assert!(has_sys_admin("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(has_sys_admin("CapEff:\t0000000000200000\n"));
        assert!(!has_sys_admin("CapEff:\t0000000000000000\n"));
        assert!(!has_sys_admin("CapEff:\t000001ffffdfffff\n"));
    }
}
