//! What the programs themselves cost: runs and time, as the kernel counts them.
//!
//! The kernel counts only while someone asks for it, because counting takes two more clock reads
//! per run: a figure for benches and `doctor`, not for every day.

use super::Kernel;
use super::hooks::{self, Hook};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Runs and time of one program since counting began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Which.
    pub hook: Hook,
    /// How often it ran.
    pub runs: u64,
    /// How long in all. **Unit**: ns.
    pub time_ns: u64,
    /// Runs that the kernel left out, since the program was already running on that CPU.
    pub recursion_misses: u64,
}

impl Cost {
    /// Mean time of a run. **Unit**: ns. **None**: it has not run.
    pub fn per_run_ns(&self) -> Option<u64> {
        self.time_ns.checked_div(self.runs)
    }
}

/// Makes the kernel count until the result is dropped.
///
/// # Errors
/// Without CAP_SYS_ADMIN, or before 5.8.
pub fn count_runs() -> io::Result<OwnedFd> {
    aya::sys::enable_stats(aya::sys::Stats::RunTime).map_err(|error| error.io_error)
}

impl Kernel {
    /// The cost of every loaded program so far. All 0 unless [`count_runs`] is held.
    pub fn costs(&self) -> Vec<Cost> {
        let programs = hooks::all().into_iter().filter_map(|hook| {
            let fd = self.ebpf()?.program(hook.program)?.fd().ok()?;
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd())).ok()?;
            parse(hook, &info)
        });
        programs.collect()
    }
}

/// Reads a program's `fdinfo`. **None**: it has no such fields, as before 5.12.
fn parse(hook: Hook, info: &str) -> Option<Cost> {
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().parse::<u64>().ok()
    };
    Some(Cost {
        hook,
        runs: field("run_cnt")?,
        time_ns: field("run_time_ns")?,
        recursion_misses: field("recursion_misses")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_figures_are_read_out_of_its_fdinfo() {
        let info = "pos:\t0\nprog_type:\t26\nrun_time_ns:\t1200\nrun_cnt:\t10\nrecursion_misses:\t1\n";
        let cost = parse(hooks::SEND, info).unwrap();
        assert_eq!((cost.per_run_ns(), cost.recursion_misses), (Some(120), 1));
        assert_eq!(parse(hooks::SEND, "pos:\t0\n"), None);
    }

    #[test]
    fn a_program_that_has_not_run_costs_nothing_known() {
        let cost = Cost { hook: hooks::SEND, runs: 0, time_ns: 0, recursion_misses: 0 };
        assert_eq!(cost.per_run_ns(), None);
    }
}
