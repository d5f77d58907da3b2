//! The first moments of every child: tie its life to the harness, go to its place, then become
//! the program.
//!
//! A parent-death signal has to be asked for by the child itself, and survives `exec`. So every
//! program of a run, also nginx or the agent, is started as
//! `insight-lab launch --parent PID --signal S [PLACE] -- PROGRAM ARGS…`. Its place is taken
//! before too: a socket belongs for ever to the namespace and the cgroup in which it was made.

use crate::namespaces::{cgroup, move_into};
use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
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

/// Where a program runs; the default is where its parent does.
#[derive(Debug, Clone, Default)]
pub struct LaunchPlace {
    /// The file of its network namespace.
    pub netns: Option<PathBuf>,
    /// The control groups that it joins, one per tree.
    pub cgroups: Vec<PathBuf>,
    /// The CPUs it is confined to; empty does not confine it.
    pub cpus: Vec<usize>,
}

impl LaunchPlace {
    /// Takes the calling process there.
    fn enter(&self) -> Result<()> {
        self.cgroups.iter().try_for_each(|group| cgroup::join(group))?;
        if let Some(netns) = &self.netns {
            move_into(netns)?;
        }
        if !self.cpus.is_empty() {
            let what = || format!("confine to the CPUs {:?}", self.cpus);
            let mut set = CpuSet::new();
            self.cpus.iter().try_for_each(|cpu| set.set(*cpu)).with_context(what)?;
            sched_setaffinity(Pid::from_raw(0), &set).with_context(what)?;
        }
        Ok(())
    }
}

/// Becomes `command` (program and arguments), to be signalled when process `parent` ends,
/// at `place`. Returns only on failure.
///
/// # Errors
/// `parent` has died already, the place cannot be entered, or the program cannot be executed.
pub fn become_program(
    parent: i32,
    signal: DeathSignal,
    place: &LaunchPlace,
    command: &[OsString],
) -> Result<()> {
    let signal = match signal {
        DeathSignal::Kill => Signal::SIGKILL,
        DeathSignal::Term => Signal::SIGTERM,
    };
    set_pdeathsig(signal).context("launch: ask for the parent-death signal")?;
    // A parent that died before the line above sends nothing any more.
    ensure!(getppid().as_raw() == parent, "launch: the harness (pid {parent}) has ended");
    place.enter().context("launch")?;
    let (program, arguments) = command.split_first().context("launch: no program given")?;
    let failed = Command::new(program).args(arguments).exec();
    Err(anyhow!(failed).context(format!("launch: execute {}", program.display())))
}
