//! What does a process say of itself and of its threads?
//!
//! **Source**: `/proc/PID/stat`, `status`, `schedstat` and the same below `/proc/PID/task/TID`,
//! through `procfs`. The whole process' CPU time has its ended threads in it; runqueue wait and
//! context switches are told per thread only.

use super::root::Source;
use crate::model::host::{CpuSet, MAX_CPUS, TICKS_PER_SECOND, ThreadSnapshot, ThreadState};
use procfs::FromRead;
use procfs::process::{Schedstat, Stat, Status};
use std::time::Duration;

/// A process that is told apart from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process {
    /// Its id.
    pub(super) pid: u32,
    /// When it began, in ticks since boot.
    pub(super) started: u64,
}

/// The line of `stat`, of a process or a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StatLine {
    pub(super) name: String,
    pub(super) state: ThreadState,
    /// Ticks in its own code.
    pub(super) user: u64,
    /// Ticks in the kernel.
    pub(super) system: u64,
    /// When it began, in ticks since boot.
    pub(super) started: u64,
}

/// The process' own line. **None**: it has ended.
pub(super) fn read_stat(source: &Source<'_>, pid: u32) -> Option<StatLine> {
    source.read(format!("proc/{pid}/stat"), parse_stat)
}

/// One thread. **None**: it has ended.
pub(super) fn read_thread(source: &Source<'_>, pid: u32, tid: u32) -> Option<ThreadSnapshot> {
    let of = |file: &str| format!("proc/{pid}/task/{tid}/{file}");
    let line = source.read(of("stat"), parse_stat)?;
    let status = source.read(of("status"), parse_status);
    Some(ThreadSnapshot {
        pid,
        tid,
        started: line.started,
        name: line.name,
        state: line.state,
        user: ticks(line.user),
        system: ticks(line.system),
        run_delay: source.read(of("schedstat"), parse_run_delay),
        voluntary_switches: status.as_ref().and_then(|status| status.voluntary_switches),
        involuntary_switches: status.as_ref().and_then(|status| status.involuntary_switches),
        allowed_cpus: status.and_then(|status| status.allowed_cpus),
    })
}

/// A number of ticks as a time.
pub(super) const fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND))
}

/// **None**: no such line.
pub(super) fn parse_stat(text: &str) -> Option<StatLine> {
    // Checked before: procfs cuts around the parentheses without looking, and would panic.
    let line = text.trim();
    let (open, close) = (line.find('(')?, line.rfind(')')?);
    if open > close || !line[..open].ends_with(' ') || !line[close + 1..].starts_with(' ') {
        return None;
    }
    let stat = Stat::from_read(line.as_bytes()).ok()?;
    Some(StatLine {
        name: stat.comm,
        state: ThreadState::from_letter(stat.state),
        user: stat.utime,
        system: stat.stime,
        started: stat.starttime,
    })
}

/// What is wanted of `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StatusLines {
    pub(super) voluntary_switches: Option<u64>,
    pub(super) involuntary_switches: Option<u64>,
    pub(super) allowed_cpus: Option<CpuSet>,
}

/// **None**: a line that is none of a status, or one that is missing.
pub(super) fn parse_status(text: &str) -> Option<StatusLines> {
    let status = Status::from_read(text.as_bytes()).ok()?;
    let cpus = status.cpus_allowed_list.map(|ranges| {
        let bounded = |(first, last): (u32, u32)| first..=last.min(MAX_CPUS - 1);
        ranges.into_iter().flat_map(bounded).collect()
    });
    Some(StatusLines {
        voluntary_switches: status.voluntary_ctxt_switches,
        involuntary_switches: status.nonvoluntary_ctxt_switches,
        allowed_cpus: cpus,
    })
}

/// Time on a runqueue, the second figure of `schedstat`. **None**: less than three figures.
pub(super) fn parse_run_delay(text: &str) -> Option<Duration> {
    Some(Duration::from_nanos(Schedstat::from_read(text.as_bytes()).ok()?.run_delay))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAT: &str = "41 (ngi) nx (x) S 1 41 41 0 -1 4194560 1 2 3 4 500 700 7 8 20 0 1 0 123456 1000 10 \
        18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    #[test]
    fn a_name_with_parentheses_is_cut_at_the_last_one() {
        let line = parse_stat(STAT).unwrap();
        assert_eq!((line.name.as_str(), line.state), ("ngi) nx (x", ThreadState::Sleeping));
        assert_eq!((line.user, line.system, line.started), (500, 700, 123_456));
        assert_eq!(ticks(line.user), Duration::from_secs(5));
    }

    #[test]
    fn the_ticks_unit_is_the_running_kernels() {
        assert_eq!(procfs::ticks_per_second(), TICKS_PER_SECOND);
    }

    #[test]
    fn mangled_lines_give_none_and_do_not_panic() {
        for text in ["", "(", ")(", "41 (x)", "41 (x) ", "41(x) S 1", "é(x) S", "41 (x)é S", "41 (x) S 1 2"]
        {
            assert_eq!(parse_stat(text), None, "{text:?}");
        }
        assert_eq!(parse_run_delay("1 2"), None);
        assert_eq!(parse_run_delay("1 2000 3\n"), Some(Duration::from_micros(2)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in "[0-9 ()RSé\n]{0,60}", any in any::<String>()) {
            for text in [text.as_str(), any.as_str()] {
                let _ = (parse_stat(text), parse_status(text), parse_run_delay(text));
            }
        }

        #[test]
        fn no_changed_byte_panics(at in 0..STAT.len(), with in any::<char>()) {
            let mut text: Vec<char> = STAT.chars().collect();
            text[at] = with;
            let _ = parse_stat(&text.into_iter().collect::<String>());
        }

        #[test]
        fn no_list_of_cpus_panics_or_grows_without_end(list in "[0-9,-]{0,30}") {
            let text = STATUS.replace("0-1", &list);
            let cpus = parse_status(&text).and_then(|status| status.allowed_cpus);
            prop_assert!(cpus.is_none_or(|cpus| cpus.len() <= MAX_CPUS as usize));
        }
    }

    const STATUS: &str = include_str!("../../../tests/host/trees/hybrid/proc/41/task/41/status");

    #[test]
    fn a_status_tells_switches_and_cpus() {
        let status = parse_status(STATUS).unwrap();
        assert_eq!(status.allowed_cpus, Some([0, 1].into()));
        assert!(status.voluntary_switches.is_some() && status.involuntary_switches.is_some());
    }
}
