//! What the programs themselves cost: runs and time, as the kernel counts them.
//!
//! The kernel counts only while someone asks for it (`kernel.bpf_stats_enabled`, or a descriptor), because
//! counting takes two more clock reads per run: a figure for benches, not for every day.

use super::Kernel;
use super::hooks;
use crate::model::kernel::ProgramCost;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Makes the kernel count until the result is dropped.
///
/// # Errors
/// Without CAP_SYS_ADMIN, or before 5.8.
pub fn count_runs() -> io::Result<OwnedFd> {
    aya::sys::enable_stats(aya::sys::Stats::RunTime).map_err(|error| error.io_error)
}

impl Kernel {
    /// The cost of every loaded program so far; without runs unless [`count_runs`] or the like was held.
    pub fn costs(&self) -> Vec<ProgramCost> {
        let programs = hooks::all().into_iter().filter_map(|hook| {
            let fd = self.ebpf()?.program(hook.program)?.fd().ok()?;
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd())).ok()?;
            parse(hook.program, &info)
        });
        programs.collect()
    }
}

/// Reads a program's `fdinfo`. **None**: it has no such fields, as before 5.12.
fn parse(program: &'static str, info: &str) -> Option<ProgramCost> {
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().parse::<u64>().ok()
    };
    Some(ProgramCost {
        program,
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
        let cost = parse("bytes_sent", info).unwrap();
        assert_eq!((cost.per_run_ns(), cost.recursion_misses), (Some(120), 1));
        assert_eq!(parse("bytes_sent", "pos:\t0\n"), None);
    }

    #[test]
    fn a_program_that_has_not_run_costs_nothing_known() {
        let cost = ProgramCost { program: "bytes_sent", runs: 0, time_ns: 0, recursion_misses: 0 };
        assert_eq!(cost.per_run_ns(), None);
    }
}
