//! The first moments of every child: tie its life to the harness, then become the program.
//!
//! A parent-death signal has to be asked for by the child itself, and survives `exec`. So every
//! program of a run, also nginx or the agent, is started as
//! `insight-lab launch --parent PID --signal S -- PROGRAM ARGS…`.

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What the kernel sends a child whose harness has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DeathSignal {
    /// SIGKILL: for a program that is one process.
    Kill,
    /// SIGTERM: for a program with workers of its own, which have to be ended by it (nginx).
    Term,
}

impl DeathSignal {
    /// The value on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeathSignal::Kill => "kill",
            DeathSignal::Term => "term",
        }
    }
}

/// Becomes `command` (program and arguments), to be signalled when process `parent` ends.
/// Returns only on failure.
///
/// # Errors
/// `parent` has died already, or the program cannot be executed.
pub fn become_program(parent: i32, signal: DeathSignal, command: &[OsString]) -> Result<()> {
    let signal = match signal {
        DeathSignal::Kill => Signal::SIGKILL,
        DeathSignal::Term => Signal::SIGTERM,
    };
    set_pdeathsig(signal).context("launch: ask for the parent-death signal")?;
    // A parent that died before the line above sends nothing any more.
    ensure!(getppid().as_raw() == parent, "launch: the harness (pid {parent}) has ended");
    let (program, arguments) = command.split_first().context("launch: no program given")?;
    let failed = Command::new(program).args(arguments).exec();
    Err(anyhow!(failed).context(format!("launch: execute {}", program.display())))
}
