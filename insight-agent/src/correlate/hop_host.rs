//! What did the forwarders on a hop have of their CPUs between two reports of its node?

use crate::model::ledger::HopHost;
use crate::model::report::{NodeReport, SeriesKey};
use std::time::Duration;

/// Times of one forwarder between two reports. **Unit**: microseconds.
struct Forwarder<'a> {
    before: &'a NodeReport,
    after: &'a NodeReport,
    name: &'a str,
}

impl Forwarder<'_> {
    /// **None**: not in both reports, or it fell.
    fn since(&self, measurement: &str, kind: Option<&str>) -> Option<u64> {
        let key = key(measurement, self.name, kind);
        self.after.series.get(&key)?.count.checked_sub(self.before.series.get(&key)?.count)
    }
}

fn key(measurement: &str, forwarder: &str, kind: Option<&str>) -> SeriesKey {
    let mut labels = vec![("forwarder", forwarder)];
    labels.extend(kind.map(|kind| ("kind", kind)));
    SeriesKey::new(measurement, &labels)
}

/// The hop's figures, and the time between the readings of the host that they are of: hosts are read
/// at a pace of their own, which is not that of the reports.
///
/// **None**: the host was not read between the two reports, no forwarder runs there, or the agent
/// was restarted.
pub(super) fn between(before: &NodeReport, after: &NodeReport) -> Option<(HopHost, Duration)> {
    if before.epoch != after.epoch {
        return None;
    }
    let mut host = HopHost::default();
    let mut longest = 0;
    for key in after.series.keys().filter(|key| key.measurement == "forwarder_observed") {
        let Some((_, name)) = key.labels.iter().find(|(label, _)| label == "forwarder") else { continue };
        let forwarder = Forwarder { before, after, name };
        let Some(observed) = forwarder.since("forwarder_observed", None).filter(|us| *us > 0) else {
            continue;
        };
        longest = longest.max(observed);
        let allowed = forwarder.since("forwarder_cpu", Some("allowed")).filter(|us| *us > 0);
        let busy = forwarder.since("forwarder_cpu", Some("busy")).zip(allowed);
        let busy = busy.map(|(busy, allowed)| busy as f64 / allowed as f64);
        host.busy_ratio = [host.busy_ratio, busy].into_iter().flatten().reduce(f64::max);
        for (sum, measurement) in [
            (&mut host.throttled_ratio, "forwarder_throttled"),
            (&mut host.run_delay_ratio, "forwarder_run_delay"),
        ] {
            if let Some(us) = forwarder.since(measurement, None) {
                *sum = Some(sum.unwrap_or(0.0) + us as f64 / observed as f64);
            }
        }
    }
    (host != HopHost::default()).then(|| (host, Duration::from_micros(longest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::Distribution;

    /// Names, labels and microseconds.
    fn report(series: &[(&str, &str, Option<&str>, u64)]) -> NodeReport {
        let series = series.iter().map(|(measurement, forwarder, kind, us)| {
            let distribution = Distribution { count: *us, ..Distribution::default() };
            (key(measurement, forwarder, *kind), distribution)
        });
        NodeReport {
            node: "mediary-a".into(),
            region: "eu".into(),
            epoch: 1,
            uptime: Duration::from_secs(1),
            series: series.collect(),
            measurements: vec![],
            series_left_out: 0,
        }
    }

    fn nginx(
        observed: u64,
        busy: u64,
        allowed: u64,
        throttled: u64,
    ) -> [(&'static str, &'static str, Option<&'static str>, u64); 4] {
        [
            ("forwarder_observed", "nginx", None, observed),
            ("forwarder_cpu", "nginx", Some("busy"), busy),
            ("forwarder_cpu", "nginx", Some("allowed"), allowed),
            ("forwarder_throttled", "nginx", None, throttled),
        ]
    }

    #[test]
    fn ratios_are_of_the_time_between_the_readings_and_an_unknown_one_stays_so() {
        let before = report(&nginx(1_000_000, 100_000, 2_000_000, 0));
        let after = report(&nginx(6_000_000, 4_600_000, 7_000_000, 10_000_000));
        let (host, time) = between(&before, &after).unwrap();
        assert_eq!((host.busy_ratio, host.throttled_ratio), (Some(0.9), Some(2.0)), "above 1: two threads");
        assert_eq!((host.run_delay_ratio, time), (None, Duration::from_secs(5)));
    }

    #[test]
    fn a_forwarder_that_was_not_throttled_has_0_and_not_none() {
        let (before, after) = (report(&nginx(0, 0, 0, 7)), report(&nginx(1_000_000, 0, 1_000_000, 7)));
        let (host, _) = between(&before, &after).unwrap();
        assert_eq!((host.busy_ratio, host.throttled_ratio), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn several_forwarders_add_up_and_the_busiest_counts() {
        let series = |observed, busy, throttled| {
            let mut all = nginx(observed, busy, observed, throttled).to_vec();
            all.extend(
                nginx(observed, busy / 2, observed, throttled / 2)
                    .map(|(m, _, kind, us)| (m, "envoy", kind, us)),
            );
            report(&all)
        };
        let (host, _) = between(&series(0, 0, 0), &series(1_000_000, 800_000, 400_000)).unwrap();
        assert_eq!(host.busy_ratio, Some(0.8));
        assert!((host.throttled_ratio.unwrap() - 0.6).abs() < 1e-9, "{host:?}");
    }

    #[test]
    fn without_a_reading_in_between_nothing_is_known() {
        let (before, after) = (report(&nginx(5, 4, 5, 3)), report(&nginx(5, 4, 5, 3)));
        assert_eq!(between(&before, &after), None);
        let mut restarted = report(&nginx(1_000_000, 4, 5, 3));
        restarted.epoch = 2;
        assert_eq!(between(&before, &restarted), None);
        assert_eq!(between(&report(&[]), &report(&nginx(1_000_000, 4, 5, 3))), None, "its first report");
    }
}
