//! What the host says of its forwarders, as series of a report: microseconds as counts.
//!
//! Every count begins at 0 with the first reading, so that what a process had used before does not
//! fall into the window in which it was found.

use super::Series;
use super::series::{count, key};
use crate::model::host::{ForwarderSnapshot, HostSnapshot, TICKS_PER_SECOND, busy_time};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const MICROSECONDS_PER_TICK: u64 = 1_000_000 / TICKS_PER_SECOND;

/// The forwarders' times over all readings. None of them ever falls.
#[derive(Debug, Default)]
pub(in crate::agent) struct HostTotals {
    before: Option<Arc<HostSnapshot>>,
    /// By forwarder.
    of: BTreeMap<String, Totals>,
}

/// **Unit**: microseconds.
#[derive(Debug, Default)]
struct Totals {
    /// Time between readings that both found the forwarder.
    observed: u64,
    busy: u64,
    allowed: u64,
    throttled: Rising,
    run_delay: Rising,
}

/// What a counter has counted since it was seen first.
#[derive(Debug, Default)]
struct Rising {
    last: Option<u64>,
    since_first: u64,
}

impl Rising {
    fn see(&mut self, now: Option<Duration>) {
        let Some(now) = now.map(micros) else { return };
        self.since_first += now.saturating_sub(self.last.unwrap_or(now));
        self.last = Some(now);
    }

    /// **None**: never seen.
    fn get(&self) -> Option<u64> {
        self.last.map(|_| self.since_first)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl HostTotals {
    /// Adds what came since the last reading.
    pub(in crate::agent) fn add(&mut self, snapshot: &Arc<HostSnapshot>) {
        let before = self.before.replace(Arc::clone(snapshot));
        for now in &snapshot.forwarders {
            let totals = self.of.entry(now.name.clone()).or_default();
            totals.throttled.see(now.cgroup.map(|group| group.throttled));
            totals.run_delay.see(now.totals.and_then(|totals| totals.run_delay));
            if let Some(before) = &before {
                totals.pass(before, snapshot, now);
            }
        }
    }

    /// Every count so far; what is not known has no series.
    pub(in crate::agent) fn series(&self) -> Series {
        let mut series = Series::new();
        for (forwarder, of) in &self.of {
            let name = ("forwarder", forwarder.as_str());
            let mut put = |measurement, labels: &[_], us| series.insert(key(measurement, labels), count(us));
            put("forwarder_observed", &[name], of.observed);
            put("forwarder_cpu", &[name, ("kind", "busy")], of.busy);
            put("forwarder_cpu", &[name, ("kind", "allowed")], of.allowed);
            if let Some(us) = of.throttled.get() {
                put("forwarder_throttled", &[name], us);
            }
            if let Some(us) = of.run_delay.get() {
                put("forwarder_run_delay", &[name], us);
            }
        }
        series
    }
}

impl Totals {
    fn pass(&mut self, before: &HostSnapshot, after: &HostSnapshot, now: &ForwarderSnapshot) {
        let was = before.forwarders.iter().find(|was| was.name == now.name);
        if was.is_none_or(|was| was.pids.is_empty()) || now.pids.is_empty() {
            return;
        }
        self.observed += micros(after.taken.saturating_duration_since(before.taken));
        let cpus = before.cpus.as_ref().zip(after.cpus.as_ref()).zip(now.allowed_cpus.as_ref());
        let spent = cpus.and_then(|((before, after), allowed)| busy_time(before, after, allowed));
        if let Some([busy, allowed]) = spent {
            self.busy += busy.saturating_mul(MICROSECONDS_PER_TICK);
            self.allowed += allowed.saturating_mul(MICROSECONDS_PER_TICK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::{CgroupCpu, CpuTimes, ForwarderTotals};
    use std::time::Instant;

    /// A reading `seconds` after `began`, with a forwarder confined to CPU 0.
    fn reading(began: Instant, seconds: u64, busy: u64, throttled: Option<u64>) -> Arc<HostSnapshot> {
        let times = CpuTimes::from_ticks([busy, 0, 0, seconds * 100 - busy, 0, 0, 0, 0, 0, 0]);
        let idle = CpuTimes::from_ticks([0, 0, 0, seconds * 100, 0, 0, 0, 0, 0, 0]);
        let group = |seconds| CgroupCpu { throttled: Duration::from_secs(seconds), ..CgroupCpu::default() };
        let delay = Some(Duration::from_secs(100 + seconds / 2));
        let forwarder = ForwarderSnapshot {
            name: "nginx".into(),
            pids: vec![7],
            totals: Some(ForwarderTotals { run_delay: delay, ..ForwarderTotals::default() }),
            allowed_cpus: Some([0].into()),
            cgroup: throttled.map(group),
            ..ForwarderSnapshot::default()
        };
        Arc::new(HostSnapshot {
            taken: began + Duration::from_secs(seconds),
            period: Duration::from_secs(2),
            cpus: Some([(0, times), (1, idle)].into()),
            node: None,
            forwarders: vec![forwarder],
            unparsed: 0,
            capped: 0,
        })
    }

    fn counts(totals: &HostTotals) -> Vec<(String, u64)> {
        let name =
            |labels: &[(String, String)]| labels.last().map(|(_, value)| value.clone()).unwrap_or_default();
        let series = totals.series();
        series
            .iter()
            .map(|(key, of)| (format!("{} {}", key.measurement, name(&key.labels)), of.count))
            .collect()
    }

    #[test]
    fn counts_begin_at_0_and_are_of_the_cpus_that_the_forwarder_may_use() {
        let (began, mut totals) = (Instant::now(), HostTotals::default());
        totals.add(&reading(began, 2, 10, Some(50)));
        assert!(counts(&totals).iter().all(|(_, us)| *us == 0), "{:?}", counts(&totals));
        totals.add(&reading(began, 4, 160, Some(53)));
        let expected = [
            ("forwarder_cpu allowed", 2_000_000),
            ("forwarder_cpu busy", 1_500_000),
            ("forwarder_observed nginx", 2_000_000),
            ("forwarder_run_delay nginx", 1_000_000),
            ("forwarder_throttled nginx", 3_000_000),
        ];
        assert_eq!(counts(&totals), expected.map(|(name, us)| (name.to_owned(), us)));
    }

    #[test]
    fn what_is_not_known_has_no_series_and_a_forwarder_that_is_gone_no_time() {
        let (began, mut totals) = (Instant::now(), HostTotals::default());
        totals.add(&reading(began, 2, 10, None));
        let mut gone = (*reading(began, 4, 160, None)).clone();
        gone.forwarders[0].pids.clear();
        totals.add(&Arc::new(gone));
        totals.add(&reading(began, 6, 200, None));
        let counts = counts(&totals);
        assert!(!counts.iter().any(|(name, _)| name.starts_with("forwarder_throttled")), "{counts:?}");
        assert!(
            counts.iter().all(|(name, us)| *us == 0 || name.starts_with("forwarder_run_delay")),
            "{counts:?}"
        );
    }
}
