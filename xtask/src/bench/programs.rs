//! What the kernel itself says about the agent's programs: how often each ran, for how long.

use anyhow::{Context, Result};
use aya::programs::{ProgramError, loaded_programs};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

/// Makes the kernel count, for as long as the result lives. It is a descriptor and not the sysctl
/// `kernel.bpf_stats_enabled`, so nothing is left switched on, however this process ends.
///
/// # Errors
/// Without CAP_SYS_ADMIN, or before 5.8.
pub fn count_runs() -> Result<OwnedFd> {
    aya::sys::enable_stats(aya::sys::Stats::RunTime)
        .context("make the kernel count program runs (BPF_ENABLE_STATS): needs root and Linux 5.8")
}

/// Runs and time of one program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    /// How often it ran.
    pub events: u64,
    /// How long in all. **Unit**: ns.
    pub time_ns: u64,
}

/// Program id → its runs so far.
pub type Snapshot = BTreeMap<u32, Runs>;

/// The programs that process `pid` holds. **Source**: `/proc/PID/fdinfo`.
///
/// # Errors
/// The process has ended, or belongs to somebody else.
pub fn held_by(pid: u32) -> Result<Snapshot> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&folder).with_context(|| format!("list {folder}"))?;
    // A descriptor that is closed meanwhile is none.
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    Ok(texts.filter_map(|text| parse(&text)).collect())
}

/// **None**: the descriptor is no program (links carry a `prog_id` too, but no counters).
fn parse(fdinfo: &str) -> Option<(u32, Runs)> {
    let field = |name: &str| {
        let line = fdinfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().parse::<u64>().ok()
    };
    let id = u32::try_from(field("prog_id")?).ok()?;
    Some((id, Runs { events: field("run_cnt")?, time_ns: field("run_time_ns")? }))
}

/// Ids and names of every program that the kernel holds. A name has at most 15 characters.
///
/// # Errors
/// Without CAP_SYS_ADMIN.
pub fn names() -> Result<BTreeMap<u32, String>> {
    let mut names = BTreeMap::new();
    for program in loaded_programs() {
        let program = match program {
            Ok(program) => program,
            // Unloaded between the list and the look at it.
            Err(ProgramError::SyscallError(error)) if error.io_error.kind() == ErrorKind::NotFound => {
                continue;
            }
            Err(error) => return Err(error).context("list the kernel's programs: needs root"),
        };
        names.insert(program.id(), program.name_as_str().unwrap_or("unnamed").to_owned());
    }
    Ok(names)
}

/// What the names of programs begin with whose events are no socket's: switches and lives of
/// threads, packets without a socket.
const ELSEWHERE: [&str; 2] = ["task_", "packet_"];

/// Whether the events of a program of this name are of sockets.
pub fn is_on_sockets(name: &str) -> bool {
    !ELSEWHERE.iter().any(|prefix| name.starts_with(prefix))
}

/// What one program did during the counted halves.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ProgramCost {
    /// Its name in the object.
    pub name: String,
    /// Mean time of a run. **None**: it never ran.
    pub ns_per_event: Option<f64>,
    /// How often it ran.
    pub events: u64,
    /// Runs for each forwarded request.
    pub events_per_request: f64,
    /// Its time for each forwarded request.
    pub ns_per_request: f64,
}

/// Adds up what ran between pairs of snapshots, by name.
#[derive(Debug, Default)]
pub struct Tally {
    runs: BTreeMap<String, Runs>,
    requests: u64,
}

impl Tally {
    /// Adds one half: what ran between the snapshots, and the requests that were forwarded.
    pub fn add(&mut self, before: &Snapshot, after: &Snapshot, names: &BTreeMap<u32, String>, requests: u64) {
        self.requests += requests;
        for (id, after) in after {
            let before = before.get(id).copied().unwrap_or_default();
            let name = names.get(id).cloned().unwrap_or_else(|| format!("program {id}"));
            let sum = self.runs.entry(name).or_default();
            sum.events += after.events.saturating_sub(before.events);
            sum.time_ns += after.time_ns.saturating_sub(before.time_ns);
        }
    }

    /// Every program, the one that costs a request most first.
    pub fn programs(&self) -> Vec<ProgramCost> {
        let requests = self.requests.max(1) as f64;
        let cost = |(name, runs): (&String, &Runs)| ProgramCost {
            name: name.clone(),
            ns_per_event: (runs.events > 0).then(|| runs.time_ns as f64 / runs.events as f64),
            events: runs.events,
            events_per_request: runs.events as f64 / requests,
            ns_per_request: runs.time_ns as f64 / requests,
        };
        let mut programs: Vec<_> = self.runs.iter().map(cost).collect();
        programs.sort_by(|a, b| b.ns_per_request.total_cmp(&a.ns_per_request));
        programs
    }

    /// Time of all programs for each forwarded request. **Unit**: ns. **None**: no requests.
    pub fn ns_per_request(&self) -> Option<f64> {
        let time: u64 = self.runs.values().map(|runs| runs.time_ns).sum();
        (self.requests > 0).then(|| time as f64 / self.requests as f64)
    }

    /// The programs on sockets, as if they were one. Where every socket with traffic is foreign to
    /// the agent, its time per event is what such a socket costs.
    pub fn on_sockets(&self) -> ProgramCost {
        let sockets = self.programs().into_iter().filter(|program| is_on_sockets(&program.name));
        let none = ProgramCost {
            name: "sockets".to_owned(),
            ns_per_event: None,
            events: 0,
            events_per_request: 0.0,
            ns_per_request: 0.0,
        };
        let sum = sockets.fold(none, |sum, program| ProgramCost {
            events: sum.events + program.events,
            events_per_request: sum.events_per_request + program.events_per_request,
            ns_per_request: sum.ns_per_request + program.ns_per_request,
            ..sum
        });
        let ns_per_event = (sum.events > 0).then(|| sum.ns_per_request / sum.events_per_request);
        ProgramCost { ns_per_event, ..sum }
    }

    /// Requests of all halves.
    pub fn requests(&self) -> u64 {
        self.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_counters_and_a_link_to_it_has_none() {
        let program =
            "pos:\t0\nprog_type:\t26\nprog_id:\t41\nrun_time_ns:\t1200\nrun_cnt:\t10\nrecursion_misses:\t0\n";
        assert_eq!(parse(program), Some((41, Runs { events: 10, time_ns: 1200 })));
        assert_eq!(parse("pos:\t0\nlink_type:\ttracing\nlink_id:\t3\nprog_id:\t41\n"), None);
        assert_eq!(parse("pos:\t0\nflags:\t02\n"), None);
    }

    #[test]
    fn halves_with_programs_of_other_ids_add_up_by_name() {
        let snapshot = |id, events, time_ns| Snapshot::from([(id, Runs { events, time_ns })]);
        let names = BTreeMap::from([(1, "data_ready".to_owned()), (2, "data_ready".to_owned())]);
        let mut tally = Tally::default();
        tally.add(&snapshot(1, 5, 500), &snapshot(1, 25, 2_500), &names, 10);
        tally.add(&Snapshot::new(), &snapshot(2, 20, 4_000), &names, 10);
        let programs = tally.programs();
        assert_eq!((programs.len(), programs[0].events), (1, 40));
        assert_eq!(programs[0].ns_per_event, Some(150.0));
        assert_eq!((programs[0].events_per_request, programs[0].ns_per_request), (2.0, 300.0));
        assert_eq!(tally.ns_per_request(), Some(300.0));
    }

    #[test]
    fn a_program_that_never_ran_has_no_time_per_event() {
        let names = BTreeMap::from([(1, "task_exit".to_owned())]);
        let mut tally = Tally::default();
        assert_eq!(tally.ns_per_request(), None);
        tally.add(&Snapshot::new(), &Snapshot::from([(1, Runs::default())]), &names, 10);
        assert_eq!(tally.programs()[0].ns_per_event, None);
        assert_eq!(tally.ns_per_request(), Some(0.0));
    }

    #[test]
    fn programs_on_sockets_are_one_without_those_of_threads_and_packets() {
        let names = ["data_ready", "bytes_sent", "task_switch", "packet_drop"];
        let names = (1..).zip(names.map(str::to_owned)).collect();
        let runs = |events, time_ns| Runs { events, time_ns };
        let after = [(1, runs(30, 3_000)), (2, runs(10, 3_000)), (3, runs(50, 9_000)), (4, runs(5, 900))];
        let mut tally = Tally::default();
        assert_eq!(tally.on_sockets().ns_per_event, None);
        tally.add(&Snapshot::new(), &Snapshot::from(after), &names, 10);
        let sockets = tally.on_sockets();
        assert_eq!((sockets.events, sockets.ns_per_event), (40, Some(150.0)));
        assert_eq!((sockets.events_per_request, sockets.ns_per_request), (4.0, 600.0));
    }

    #[test]
    fn the_costliest_program_comes_first() {
        let names = BTreeMap::from([(1, "cheap".to_owned()), (2, "costly".to_owned())]);
        let after = Snapshot::from([
            (1, Runs { events: 100, time_ns: 1_000 }),
            (2, Runs { events: 1, time_ns: 2_000 }),
        ]);
        let mut tally = Tally::default();
        tally.add(&Snapshot::new(), &after, &names, 1);
        assert_eq!(tally.programs()[0].name, "costly");
    }
}
