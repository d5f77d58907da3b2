//! The forwarders' families of a snapshot.

use super::super::numbers::NumberRow;
use super::super::registry::Family;
use crate::model::host::{ForwarderSnapshot, ThreadState};
use crate::model::series::host::{cgroup, forwarder};

const CPU_SECONDS: NumberRow<2> = NumberRow::of(&forwarder::CPU_SECONDS);
const CONTEXT_SWITCHES: NumberRow<2> = NumberRow::of(&forwarder::CONTEXT_SWITCHES);
const RUN_DELAY: NumberRow<1> = NumberRow::of(&forwarder::RUN_DELAY);
const THREADS: NumberRow<2> = NumberRow::of(&forwarder::THREADS);
const PROCESSES: NumberRow<1> = NumberRow::of(&forwarder::PROCESSES);
const ALLOWED_CPUS: NumberRow<1> = NumberRow::of(&forwarder::ALLOWED_CPUS);
const ALLOWED_CPUS_BUSY: NumberRow<1> = NumberRow::of(&forwarder::ALLOWED_CPUS_BUSY);
const PERIODS: NumberRow<1> = NumberRow::of(&cgroup::PERIODS);
const THROTTLED_PERIODS: NumberRow<1> = NumberRow::of(&cgroup::THROTTLED_PERIODS);
const THROTTLED_SECONDS: NumberRow<1> = NumberRow::of(&cgroup::THROTTLED_SECONDS);
const QUOTA: NumberRow<1> = NumberRow::of(&cgroup::QUOTA);

/// Every family that has a figure.
pub(super) fn families(forwarders: &[ForwarderSnapshot]) -> Vec<Family> {
    let (mut seconds, mut switches) = (CPU_SECONDS.family(), CONTEXT_SWITCHES.family());
    let (mut delay, mut threads, mut processes) = (RUN_DELAY.family(), THREADS.family(), PROCESSES.family());
    let (mut allowed, mut busy) = (ALLOWED_CPUS.family(), ALLOWED_CPUS_BUSY.family());
    for of in forwarders {
        let name = of.name.as_str();
        processes.put([name], Some(of.pids.len() as f64));
        for state in ThreadState::ALL {
            let count = of.threads.iter().filter(|thread| thread.state == state).count();
            threads.put([name, state.name()], Some(count as f64));
        }
        allowed.put([name], of.allowed_cpus.as_ref().map(|cpus| cpus.len() as f64));
        busy.put([name], of.allowed_busy);
        let Some(totals) = &of.totals else { continue };
        for (mode, time) in forwarder::MODES.into_iter().zip([totals.user, totals.system]) {
            seconds.put([name, mode], Some(time.as_secs_f64()));
        }
        let counts = [totals.voluntary_switches, totals.involuntary_switches];
        for (kind, count) in forwarder::SWITCHES.into_iter().zip(counts) {
            switches.put([name, kind], Some(count as f64));
        }
        delay.put([name], totals.run_delay.map(|delay| delay.as_secs_f64()));
    }
    let mut families = cgroup_families(forwarders);
    families.extend([seconds.into_family(), switches.into_family(), delay.into_family()]);
    families.extend([threads.into_family(), processes.into_family()]);
    families.extend([allowed.into_family(), busy.into_family()]);
    families
}

fn cgroup_families(forwarders: &[ForwarderSnapshot]) -> Vec<Family> {
    let (mut periods, mut throttled) = (PERIODS.family(), THROTTLED_PERIODS.family());
    let (mut seconds, mut quota) = (THROTTLED_SECONDS.family(), QUOTA.family());
    for of in forwarders {
        let Some(cgroup) = &of.cgroup else { continue };
        let name = of.name.as_str();
        periods.put([name], Some(cgroup.periods as f64));
        throttled.put([name], Some(cgroup.throttled_periods as f64));
        seconds.put([name], Some(cgroup.throttled.as_secs_f64()));
        quota.put([name], cgroup.quota_cores);
    }
    vec![periods.into_family(), throttled.into_family(), seconds.into_family(), quota.into_family()]
}
