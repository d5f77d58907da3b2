//! CPU times that never fall, though the kernel's sometimes do.
//!
//! Idle and I/O waiting time are estimated while a CPU sleeps, and jump back by a tick or two.
//! node_exporter's rule, kept here so that both show the same: a figure that fell keeps its last
//! value; idle time that fell by [`HOTPLUG`] or more means that the CPU was away, and all of its
//! figures begin anew. One that is offline is absent, as in node_exporter since 1.6; 1.5 shows 0.

use crate::model::host::{CpuTimes, TICKS_PER_SECOND};
use std::collections::BTreeMap;

/// The fall of idle time that cannot be an estimate's error. **Unit**: ticks.
const HOTPLUG: u64 = 3 * TICKS_PER_SECOND;

/// The last shown times.
#[derive(Debug, Default)]
pub(super) struct SteadyCpus {
    shown: BTreeMap<u32, CpuTimes>,
}

impl SteadyCpus {
    /// What to show after reading `read`.
    pub(super) fn observe(&mut self, read: &BTreeMap<u32, CpuTimes>) -> BTreeMap<u32, CpuTimes> {
        self.shown = read.iter().map(|(&cpu, read)| (cpu, steady(self.shown.get(&cpu), read))).collect();
        self.shown.clone()
    }
}

fn steady(shown: Option<&CpuTimes>, read: &CpuTimes) -> CpuTimes {
    let Some(shown) = shown.filter(|shown| shown.idle.saturating_sub(read.idle) < HOTPLUG) else {
        return *read;
    };
    let (mut steady, read) = (shown.ticks(), read.ticks());
    for (shown, read) in steady.iter_mut().zip(read) {
        *shown = read.max(*shown);
    }
    CpuTimes::from_ticks(steady)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(ticks: [u64; 10]) -> BTreeMap<u32, CpuTimes> {
        [(0, CpuTimes::from_ticks(ticks))].into()
    }

    #[test]
    fn a_figure_that_fell_keeps_its_value_and_the_others_go_on() {
        let mut cpus = SteadyCpus::default();
        cpus.observe(&one([10, 0, 0, 1000, 50, 0, 0, 0, 0, 0]));
        let shown = cpus.observe(&one([12, 0, 0, 990, 40, 0, 0, 0, 0, 0]));
        assert_eq!(shown, one([12, 0, 0, 1000, 50, 0, 0, 0, 0, 0]));
        assert_eq!(cpus.observe(&one([12, 0, 0, 1001, 51, 0, 0, 0, 0, 0]))[&0].idle, 1001);
    }

    #[test]
    fn idle_time_that_fell_by_three_seconds_is_a_new_start() {
        let mut cpus = SteadyCpus::default();
        cpus.observe(&one([10, 0, 0, 1000, 50, 0, 0, 0, 0, 0]));
        assert_eq!(cpus.observe(&one([5, 0, 0, 701, 1, 0, 0, 0, 0, 0]))[&0].user, 10);
        assert_eq!(
            cpus.observe(&one([5, 0, 0, 700, 1, 0, 0, 0, 0, 0])),
            one([5, 0, 0, 700, 1, 0, 0, 0, 0, 0])
        );
    }

    #[test]
    fn a_cpu_that_went_is_absent_and_one_that_came_is_there() {
        let mut cpus = SteadyCpus::default();
        cpus.observe(&one([10, 0, 0, 1000, 0, 0, 0, 0, 0, 0]));
        assert!(cpus.observe(&BTreeMap::new()).is_empty());
        let back = one([1, 0, 0, 999, 0, 0, 0, 0, 0, 0]);
        assert_eq!(cpus.observe(&back), back);
    }

    proptest! {
        #[test]
        fn nothing_falls_unless_idle_time_fell_far(readings in prop::collection::vec(any::<[u16; 10]>(), 1..20)) {
            let mut cpus = SteadyCpus::default();
            let mut last: Option<CpuTimes> = None;
            for ticks in readings {
                let shown = cpus.observe(&one(ticks.map(u64::from)))[&0];
                if let Some(last) = last.filter(|last| last.idle < shown.idle + HOTPLUG) {
                    prop_assert!(last.ticks().into_iter().zip(shown.ticks()).all(|(last, now)| now >= last));
                }
                last = Some(shown);
            }
        }
    }
}
