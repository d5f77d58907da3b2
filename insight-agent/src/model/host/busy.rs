//! How busy were exactly these CPUs between two readings?

use super::{CpuSet, CpuTimes};
use std::collections::BTreeMap;

/// The share of the time of the CPUs in `allowed` in which they were not idle, from 0 to 1.
///
/// Time that the hypervisor gave to others counts as busy: nobody here could have it. Waiting for
/// I/O is idle: the CPU was free.
///
/// **None**: no CPU was counted in both readings (the first reading, all of them went), or no time
/// has passed.
pub fn busy_share(
    before: &BTreeMap<u32, CpuTimes>,
    after: &BTreeMap<u32, CpuTimes>,
    allowed: &CpuSet,
) -> Option<f64> {
    let [busy, whole] = spent(before, after, allowed)?;
    Some(busy as f64 / whole as f64)
}

/// The time in which the CPUs in `allowed` were not idle, and their whole time, which is not 0, as
/// [`busy_share`] judges them. **Unit**: ticks.
///
/// **None**: as there.
pub fn busy_time(
    before: &BTreeMap<u32, CpuTimes>,
    after: &BTreeMap<u32, CpuTimes>,
    allowed: &CpuSet,
) -> Option<[u64; 2]> {
    let ticks = spent(before, after, allowed)?;
    Some(ticks.map(|ticks| u64::try_from(ticks).unwrap_or(u64::MAX)))
}

fn spent(
    before: &BTreeMap<u32, CpuTimes>,
    after: &BTreeMap<u32, CpuTimes>,
    allowed: &CpuSet,
) -> Option<[u128; 2]> {
    // Wide enough for any figures that a file may hold.
    let (mut idle, mut whole) = (0_u128, 0_u128);
    for cpu in allowed {
        let (Some(before), Some(after)) = (before.get(cpu), after.get(cpu)) else { continue };
        // A CPU that was away in between counts from a new start; its part is not known.
        if after.idle < before.idle {
            continue;
        }
        let spent = before.modes().into_iter().zip(after.modes());
        whole += spent.map(|(before, after)| u128::from(after.saturating_sub(before))).sum::<u128>();
        idle += u128::from(after.idle - before.idle);
        idle += u128::from(after.iowait.saturating_sub(before.iowait));
    }
    (whole > 0).then(|| [whole - idle, whole])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(of: &[(u32, CpuTimes)]) -> BTreeMap<u32, CpuTimes> {
        of.iter().copied().collect()
    }

    const BUSY: CpuTimes = CpuTimes::from_ticks([50, 0, 30, 10, 0, 0, 10, 0, 0, 0]);
    const IDLE: CpuTimes = CpuTimes::from_ticks([0, 0, 0, 60, 40, 0, 0, 0, 0, 0]);
    const START: CpuTimes = CpuTimes::from_ticks([0; 10]);

    #[test]
    fn only_the_allowed_cpus_are_judged() {
        let before = cpus(&[(0, START), (1, START)]);
        let after = cpus(&[(0, BUSY), (1, IDLE)]);
        let share = |allowed: &[u32]| busy_share(&before, &after, &allowed.iter().copied().collect());
        assert_eq!(share(&[0]), Some(0.9));
        assert_eq!(share(&[1]), Some(0.0), "waiting for I/O leaves the CPU free");
        assert_eq!(share(&[0, 1]), Some(0.45));
        assert_eq!(share(&[0, 7]), Some(0.9), "a CPU that is not there has no part");
        assert_eq!(share(&[7]), None);
    }

    #[test]
    fn stolen_time_is_busy() {
        let stolen = CpuTimes::from_ticks([0, 0, 0, 25, 0, 0, 0, 75, 0, 0]);
        let allowed = [0].into();
        assert_eq!(busy_share(&cpus(&[(0, START)]), &cpus(&[(0, stolen)]), &allowed), Some(0.75));
    }

    #[test]
    fn no_time_and_a_new_start_give_none() {
        let allowed = [0].into();
        assert_eq!(busy_share(&cpus(&[(0, BUSY)]), &cpus(&[(0, BUSY)]), &allowed), None);
        assert_eq!(busy_share(&cpus(&[(0, IDLE)]), &cpus(&[(0, BUSY)]), &allowed), None);
        assert_eq!(busy_share(&cpus(&[]), &cpus(&[(0, BUSY)]), &allowed), None);
    }
}
