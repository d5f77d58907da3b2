//! `cargo xtask`: every developer command of Insight.

mod codegen;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Insight")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate Rust from proto/ (commit the result)
    Codegen {
        /// Only compare with what is committed
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    let root = workspace_root()?;
    match Args::parse().command {
        Command::Codegen { check } => codegen::run(&root, check),
    }
}

/// The checkout that this program was built from.
fn workspace_root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(Path::to_path_buf).context("xtask has a parent folder")
}
