//! What have the CPUs done since boot?
//!
//! **Source**: `/proc/stat`. An own reader: `procfs::KernelStats` numbers the CPUs by their
//! position, which is wrong as soon as one is offline, and it leaves the interrupts out.

use crate::model::host::{CpuTimes, MAX_CPUS, SystemTotals};
use std::collections::BTreeMap;

/// `/proc/stat`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stat {
    /// The online CPUs.
    pub(super) cpus: BTreeMap<u32, CpuTimes>,
    /// The rest.
    pub(super) system: SystemTotals,
}

/// **None**: no CPU, a figure that is none, or a total that is missing.
pub(super) fn parse(text: &str) -> Option<Stat> {
    let mut cpus = BTreeMap::new();
    let mut totals = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next() else { continue };
        match name.strip_prefix("cpu") {
            // The sum over all CPUs: node_exporter leaves it to the query.
            Some("") => {}
            Some(number) => {
                let number = number.parse().ok().filter(|number| *number < MAX_CPUS)?;
                cpus.insert(number, parse_ticks(words)?);
            }
            // Of the interrupts' line only the sum, which is its first figure.
            None => {
                if matches!(name, "intr" | "ctxt" | "btime" | "processes" | "procs_running" | "procs_blocked")
                {
                    totals.insert(name, words.next()?.parse().ok()?);
                }
            }
        }
    }
    let total = |name: &str| totals.get(name).copied();
    let system = SystemTotals {
        interrupts: total("intr")?,
        context_switches: total("ctxt")?,
        forks: total("processes")?,
        boot_time: total("btime")?,
        running: total("procs_running")?,
        blocked: total("procs_blocked")?,
    };
    (!cpus.is_empty()).then_some(Stat { cpus, system })
}

/// The figures of a CPU's line; ten on every kernel since 2.6.33. Later ones may have more.
fn parse_ticks<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<CpuTimes> {
    let mut ticks = [0; 10];
    for tick in &mut ticks {
        *tick = words.next()?.parse().ok()?;
    }
    Some(CpuTimes::from_ticks(ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cpu  9 9 9 9 9 9 9 9 9 9\n\
        cpu0 1 2 3 4 5 6 7 8 9 10\n\
        cpu3 11 12 13 14 15 16 17 18 19 20 21\n\
        intr 500 1 2 3\nctxt 600\nbtime 700\nprocesses 800\nprocs_running 3\nprocs_blocked 1\n\
        softirq 1 2\n";

    #[test]
    fn cpus_keep_their_numbers_over_one_that_is_offline() {
        let stat = parse(TEXT).unwrap();
        assert_eq!(stat.cpus.keys().copied().collect::<Vec<_>>(), [0, 3]);
        assert_eq!(stat.cpus[&3].ticks(), [11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
        assert_eq!((stat.system.interrupts, stat.system.boot_time), (500, 700));
    }

    #[test]
    fn a_cut_or_mangled_line_gives_none() {
        assert_eq!(parse(&TEXT.replace("cpu0 1", "cpu0 x")), None);
        assert_eq!(parse(&TEXT.replace(" 8 9 10\n", "\n")), None);
        assert_eq!(parse(&TEXT.replace("ctxt 600\n", "")), None);
        assert_eq!(parse(&TEXT.replace("cpu3", "cpu65536")), None);
        assert_eq!(parse(""), None);
    }
}
