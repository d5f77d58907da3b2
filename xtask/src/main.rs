//! `cargo xtask`: every developer command of Insight.

mod bench;
mod build_ebpf;
mod cargo;
mod codegen;
mod command;
mod demo;
mod docs;
mod format;
mod fuzz;
mod lab;
mod setup;
mod soak;
mod test;
mod vmtest;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Developer commands of Insight")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start two regions on this machine and show where a request's time goes between them
    Demo(demo::Args),
    /// Run every check and every test; the last line counts them
    Test(test::Args),
    /// Measure what Insight itself costs; prints a table
    Bench {
        #[command(subcommand)]
        bench: bench::Bench,
    },
    /// Feed random inputs to every parser of what others send; the exit code is 1 when one crashes or
    /// hangs
    Fuzz(fuzz::Args),
    /// Let connections come and go beside the agent for a while, and judge what it still holds (as
    /// root)
    Soak(soak::Args),
    /// Hold what the agent says against what was done to it
    Lab {
        #[command(subcommand)]
        lab: lab::Lab,
    },
    /// Run the agent on Debian's other kernels, in emulated machines; prints a table
    Vmtest(vmtest::Args),
    /// Install what the tests and the demo talk to: Debian packages (as root), a Python environment
    Setup,
    /// Generate Rust from proto/ (commit the result)
    Codegen {
        /// Only compare with what is committed
        #[arg(long)]
        check: bool,
    },
    /// Write the documents that are generated out of the code: docs/metrics.md (commit the result)
    Docs {
        /// Only compare with what is committed
        #[arg(long)]
        check: bool,
    },
    /// Format the code: what `cargo fmt` finds, and the files of the kernel measurements
    Fmt {
        /// Only find what is not formatted
        #[arg(long)]
        check: bool,
    },
    /// Build the kernel half, with its toolchain (Debian packages as root); commit the result
    BuildEbpf {
        /// Only compare with what is committed
        #[arg(long)]
        check: bool,
        /// Build the object that writes lines for people instead, below target/, for an agent with
        /// the feature kernel-log
        #[arg(long, conflicts_with = "check")]
        kernel_log: bool,
    },
}

fn main() -> ExitCode {
    if let Some(code) = fuzz::instrument::as_compiler() {
        return code;
    }
    // Not `-> Result`: anyhow's own output would add a stack trace where RUST_BACKTRACE is set,
    // below the log that the message ends with.
    run(Args::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    let root = workspace_root()?;
    match command {
        Command::Demo(args) => demo::run(&root, &args),
        Command::Test(args) => test::run(&root, &args),
        Command::Bench { bench } => bench::run(&root, &bench).map(|()| ExitCode::SUCCESS),
        Command::Fuzz(args) => fuzz::run(&root, &args),
        Command::Soak(args) => soak::run(&root, &args),
        Command::Lab { lab } => lab::run(&root, &lab),
        Command::Setup => {
            let interrupt = insight_lab::Interrupt::install()?;
            setup::run(&root, &interrupt)?;
            vmtest::install(&root, &interrupt)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Vmtest(args) => vmtest::run(&root, &args).map(|()| ExitCode::SUCCESS),
        Command::BuildEbpf { kernel_log: true, .. } => {
            build_ebpf::run_logging(&root).map(|()| ExitCode::SUCCESS)
        }
        Command::BuildEbpf { check, .. } => build_ebpf::run(&root, check).map(|()| ExitCode::SUCCESS),
        Command::Codegen { check } => codegen::run(&root, check).map(|()| ExitCode::SUCCESS),
        Command::Fmt { check } => format::run(&root, check).map(|()| ExitCode::SUCCESS),
        Command::Docs { check } => docs::run(&root, check).map(|()| ExitCode::SUCCESS),
    }
}

/// The checkout that this program was built from.
fn workspace_root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(Path::to_path_buf).context("xtask has a parent folder")
}
