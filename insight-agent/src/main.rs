//! The `insight-agent` program: parse, dispatch, exit code.

use clap::Parser;
use insight_agent::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    Cli::parse().run()
}
