//! One file per subcommand.

pub mod check_config;
pub mod completions;
pub mod discover;
pub mod doctor;
pub mod man;
pub mod probe;
pub mod run;

use crate::agent::error_text;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Cross-region gRPC got slow: whose fault is it?
///
/// Insight probes gRPC paths through their forwarding layer, takes the latency apart by hop, and
/// exports it to Prometheus.
#[derive(Debug, Parser)]
#[command(name = "insight-agent", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Probe(Box<probe::ProbeArgs>),
    Doctor(doctor::DoctorArgs),
    Discover(discover::DiscoverArgs),
    CheckConfig(check_config::CheckConfigArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Cli {
    /// Runs the subcommand to its end.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Run(args) => run::run(args),
            Command::Probe(args) => probe::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Discover(args) => discover::run(&args),
            Command::CheckConfig(args) => check_config::run(args),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
        }
    }
}

/// Prints an error with its causes: `insight-agent: what: why: why`.
fn print_error(error: &dyn std::error::Error) {
    eprintln!("insight-agent: {}", error_text(error));
}
