//! The figures of a whole run: each complete window is taken once and weighted by its count.

use super::status::{HopHost, Ledger, Probe, Segment, Status};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Connections, caches and the agents' own start settle in this time (seconds); windows that
/// begin earlier are left out.
const WARM_UP_SECONDS: f64 = 2.0;

/// The windows so far.
#[derive(Debug, Default)]
pub struct Summary {
    /// The agent's uptime at the first answer. **None**: no answer yet.
    began: Option<f64>,
    latest: Option<Status>,
    ledgers: Vec<LedgerSum>,
}

impl Summary {
    /// Takes one answer; ledgers whose window was taken before are passed over.
    pub fn take(&mut self, status: &Status) {
        if let Some(uptime) = status.agent.uptime_seconds {
            let began = *self.began.get_or_insert(uptime);
            let window = status.agent.window_seconds.unwrap_or(1.0);
            for ledger in status.paths.iter().flat_map(|path| &path.ledgers) {
                // On the agent's own clock, so that it does not matter when we happened to ask.
                let Some(end) = ledger.age().map(|age| uptime - age) else { continue };
                let sum = self.sum_of(ledger);
                // Windows follow each other at their length; half of it tells two apart for sure.
                if sum.last_end.is_none_or(|last| end > last + window / 2.0) {
                    sum.last_end = Some(end);
                    if end - window >= began + WARM_UP_SECONDS {
                        sum.add(ledger);
                    }
                }
            }
        }
        self.latest = Some(status.clone());
    }

    /// The last answer. **None**: the agent never answered.
    pub fn latest(&self) -> Option<&Status> {
        self.latest.as_ref()
    }

    /// True once the main probe sent anything: the run measured, be it only failures.
    pub fn measured(&self) -> bool {
        self.main_probe().and_then(|probe| probe.sent).is_some_and(|sent| sent > 0)
    }

    /// The whole run as one JSON object; what is not known is null.
    pub fn to_json(&self, faults: &[String]) -> Value {
        let path = self.latest.as_ref().and_then(|status| status.paths.first());
        let probe = self.main_probe();
        let latency = probe.and_then(|probe| probe.latency.clone()).unwrap_or_default();
        let measurements = self.latest.iter().flat_map(|status| &status.measurements);
        json!({
            "source": path.and_then(|path| path.source.as_deref()),
            "target": path.and_then(|path| path.target.as_deref()),
            "probes_sent": probe.and_then(|probe| probe.sent),
            "probes_ok": probe.and_then(|probe| probe.ok),
            "e2e_seconds": {
                "p50": latency.p50_seconds,
                "p99": latency.p99_seconds,
                "mean": latency.mean_seconds,
            },
            "ledgers": self.ledgers.iter().map(LedgerSum::to_json).collect::<Vec<_>>(),
            "measurements": measurements
                .map(|m| json!({"node": m.node, "name": m.name, "state": m.state, "reason": m.reason}))
                .collect::<Vec<_>>(),
            "faults": faults,
        })
    }

    fn main_probe(&self) -> Option<&Probe> {
        self.latest.as_ref()?.main_probe()
    }

    fn sum_of(&mut self, ledger: &Ledger) -> &mut LedgerSum {
        let (kind, probe) =
            (ledger.kind.as_deref().unwrap_or_default(), ledger.probe.as_deref().unwrap_or_default());
        let found = self.ledgers.iter().position(|sum| sum.kind == kind && sum.probe == probe);
        let index = found.unwrap_or_else(|| {
            self.ledgers.push(LedgerSum { kind: kind.into(), probe: probe.into(), ..LedgerSum::default() });
            self.ledgers.len() - 1
        });
        &mut self.ledgers[index]
    }
}

/// One ledger over its windows.
#[derive(Debug, Default)]
struct LedgerSum {
    kind: String,
    probe: String,
    /// End of the last window seen, in seconds of the agent's uptime.
    last_end: Option<f64>,
    segments: Vec<SegmentSum>,
    unexplained: Mean,
}

impl LedgerSum {
    fn add(&mut self, ledger: &Ledger) {
        self.unexplained.add(ledger.unexplained_seconds, ledger.count);
        let mut after = 0;
        for segment in &ledger.segments {
            let found = self.segments.iter().position(|sum| sum.name == segment.name);
            // A segment that appears later (a hop was silent at first) takes its place in path
            // order, behind its predecessor in this window.
            let index = found.unwrap_or_else(|| {
                self.segments
                    .insert(after, SegmentSum { name: segment.name.clone(), ..SegmentSum::default() });
                after
            });
            self.segments[index].add(segment);
            after = index + 1;
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "kind": self.kind,
            "probe": self.probe,
            "segments": self.segments.iter().map(SegmentSum::to_json).collect::<Vec<_>>(),
            "unexplained_seconds": self.unexplained.get(),
        })
    }
}

/// One segment over its windows.
#[derive(Debug, Default)]
struct SegmentSum {
    name: String,
    seconds: Mean,
    count: u64,
    /// Requests by evidence and population: the run's figure is named after the most frequent.
    sources: BTreeMap<String, u64>,
    populations: BTreeMap<String, u64>,
    /// As of the last window: whose report it was, how old, and which silent hops it covered.
    node: Option<String>,
    age_seconds: Option<f64>,
    merged: Vec<String>,
    /// Of the window in which the hop's CPUs were busiest: a fault is shorter than a run.
    host: Option<HopHost>,
}

impl SegmentSum {
    fn add(&mut self, segment: &Segment) {
        self.seconds.add(segment.seconds, segment.count);
        self.count += segment.count;
        self.node.clone_from(&segment.node);
        self.age_seconds = segment.age_seconds;
        self.merged.clone_from(&segment.merged);
        let busy = |host: Option<HopHost>| host.and_then(|host| host.busy_ratio).unwrap_or(-1.0);
        if self.host.is_none() || busy(segment.host) > busy(self.host) {
            self.host = segment.host.or(self.host);
        }
        if let Some(source) = &segment.source {
            *self.sources.entry(source.clone()).or_default() += segment.count.max(1);
        }
        if let Some(population) = &segment.population {
            *self.populations.entry(population.clone()).or_default() += segment.count.max(1);
        }
    }

    fn to_json(&self) -> Value {
        let most = |names: &BTreeMap<String, u64>| {
            names.iter().max_by_key(|(_, count)| **count).map(|(name, _)| name.clone())
        };
        json!({
            "name": self.name,
            "seconds": self.seconds.get(),
            "source": most(&self.sources),
            "population": most(&self.populations),
            "count": self.count,
            "node": self.node,
            "age_seconds": self.age_seconds,
            "merged": self.merged,
            "host": self.host,
        })
    }
}

/// A mean weighted by counts.
#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    weight: u64,
}

impl Mean {
    fn add(&mut self, value: Option<f64>, weight: u64) {
        if let Some(value) = value {
            // A floor has no count, and is a figure nevertheless.
            let weight = weight.max(1);
            self.sum += value * weight as f64;
            self.weight += weight;
        }
    }

    /// **None**: nothing was measured; never 0.
    fn get(&self) -> Option<f64> {
        (self.weight > 0).then(|| self.sum / self.weight as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer at `uptime` whose window ended `age` ago.
    fn answer(uptime: f64, age: f64, segments: Value, unexplained: Value, count: u64) -> Status {
        serde_json::from_value(json!({
            "agent": {"uptime_seconds": uptime, "window_seconds": 1.0},
            "paths": [{"source": "eu", "target": "sg", "ledgers": [{
                "kind": "probe", "probe": "sg-insight", "count": count, "age_seconds": age,
                "segments": segments, "unexplained_seconds": unexplained}]}],
            "probes": [{"probe": "sg-insight", "mode": "white-box", "connection": "reused", "sent": 9, "ok": 8,
                "latency": {"mean_seconds": 0.03, "p50_seconds": 0.02, "p99_seconds": 0.09}}],
            "measurements": [{"node": "eu", "name": "tcp_info", "state": "failed", "reason": "refused", "detail": "x"}],
        }))
        .unwrap()
    }

    fn hop(seconds: Value, count: u64) -> Value {
        json!([{"name": "hop:a", "seconds": seconds, "count": count, "source": "hop_header", "population": "probe"}])
    }

    fn ledger(summary: &Summary) -> Value {
        summary.to_json(&[])["ledgers"][0].clone()
    }

    #[test]
    fn a_window_counts_once_however_often_it_is_seen() {
        let mut summary = Summary::default();
        summary.take(&answer(1.0, 0.1, hop(json!(9.0), 5), json!(1.0), 5));
        for (uptime, age) in [(5.0, 0.2), (5.5, 0.7)] {
            summary.take(&answer(uptime, age, hop(json!(2.0), 10), json!(0.5), 10));
        }
        summary.take(&answer(6.0, 0.2, hop(json!(4.0), 30), json!(0.1), 30));
        let ledger = ledger(&summary);
        assert_eq!(ledger["segments"][0]["count"], 40);
        assert_eq!(ledger["segments"][0]["seconds"], 3.5);
        assert_eq!(ledger["segments"][0]["source"], "hop_header");
        let unexplained = ledger["unexplained_seconds"].as_f64().unwrap();
        assert!((unexplained - 0.2).abs() < 1e-9, "{unexplained}");
    }

    #[test]
    fn windows_that_begin_in_the_first_two_seconds_are_left_out() {
        let mut summary = Summary::default();
        summary.take(&answer(1.0, 0.0, hop(json!(7.0), 5), Value::Null, 5));
        summary.take(&answer(3.9, 0.0, hop(json!(7.0), 5), Value::Null, 5)); // began at 2.9
        assert_eq!(ledger(&summary)["segments"], json!([]));
        summary.take(&answer(5.0, 0.0, hop(json!(1.0), 5), Value::Null, 5));
        assert_eq!(ledger(&summary)["segments"][0]["seconds"], 1.0);
    }

    #[test]
    fn what_was_never_measured_is_null() {
        let mut summary = Summary::default();
        assert!(!summary.measured());
        assert_eq!(summary.to_json(&[])["e2e_seconds"]["p50"], Value::Null);
        assert_eq!(summary.to_json(&[])["probes_sent"], Value::Null);
        summary.take(&answer(1.0, 0.0, json!([]), Value::Null, 0));
        summary.take(&answer(9.0, 0.0, hop(Value::Null, 0), Value::Null, 4));
        let ledger = ledger(&summary);
        assert_eq!(ledger["segments"][0]["seconds"], Value::Null);
        assert_eq!(ledger["unexplained_seconds"], Value::Null);
    }

    #[test]
    fn a_segment_that_appears_later_takes_its_place_in_path_order() {
        let mut summary = Summary::default();
        let named = |names: &[&str]| -> Value {
            names.iter().map(|name| json!({"name": name, "seconds": 1.0, "count": 1})).collect()
        };
        summary.take(&answer(0.0, 0.0, json!([]), Value::Null, 0));
        summary.take(&answer(4.0, 0.0, named(&["link:a>c", "service"]), Value::Null, 1));
        summary.take(&answer(5.0, 0.0, named(&["link:a>b", "hop:b", "link:b>c", "service"]), Value::Null, 1));
        let ledger = ledger(&summary);
        let names: Vec<&str> =
            ledger["segments"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["link:a>b", "hop:b", "link:b>c", "link:a>c", "service"]);
    }

    #[test]
    fn the_windows_ledger_stands_beside_the_probes_with_who_said_it_and_how_long_ago() {
        let mut summary = Summary::default();
        summary.take(&answer(1.0, 0.0, json!([]), Value::Null, 0));
        let mut both = answer(9.0, 0.0, hop(json!(2.0), 5), json!(0.5), 5);
        let segments = json!([
            {"name": "hop:a", "seconds": 0.1, "count": 700, "source": "kernel", "population": "all", "node": "a",
             "age_seconds": 0.4},
            {"name": "link:a>b", "seconds": 0.02, "source": "rtt_floor", "population": "all", "node": "a",
             "age_seconds": 0.4, "merged": ["x"]},
            {"name": "hop:b", "seconds": null, "count": 0, "node": "b", "age_seconds": 31.5},
        ]);
        let window = json!({"kind": "window", "probe": "sg-insight", "segments": segments});
        both.paths[0].ledgers.push(serde_json::from_value(window).unwrap());
        summary.take(&both);
        let run = summary.to_json(&[]);
        assert_eq!(run["ledgers"][0]["kind"], "probe");
        assert_eq!(run["ledgers"][0]["segments"][0]["node"], Value::Null);
        let window = &run["ledgers"][1];
        assert_eq!((&window["kind"], &window["unexplained_seconds"]), (&json!("window"), &Value::Null));
        let [hop, link, silent] = [0, 1, 2].map(|index| &window["segments"][index]);
        assert_eq!(
            (&hop["seconds"], &hop["source"], &hop["count"]),
            (&json!(0.1), &json!("kernel"), &json!(700))
        );
        assert_eq!((&hop["node"], &hop["age_seconds"]), (&json!("a"), &json!(0.4)));
        // A floor without a count is a figure all the same.
        assert_eq!((&link["seconds"], &link["merged"]), (&json!(0.02), &json!(["x"])));
        assert_eq!((&silent["seconds"], &silent["age_seconds"]), (&Value::Null, &json!(31.5)));
    }

    #[test]
    fn the_run_names_its_probe_its_measurements_and_its_faults() {
        let mut summary = Summary::default();
        summary.take(&answer(1.0, 0.0, json!([]), Value::Null, 0));
        assert!(summary.measured());
        let run = summary.to_json(&["wan-delay=40ms".into()]);
        assert_eq!((&run["source"], &run["target"]), (&json!("eu"), &json!("sg")));
        assert_eq!((&run["probes_sent"], &run["probes_ok"]), (&json!(9), &json!(8)));
        assert_eq!(run["e2e_seconds"], json!({"p50": 0.02, "p99": 0.09, "mean": 0.03}));
        assert_eq!(
            run["measurements"],
            json!([{"node": "eu", "name": "tcp_info", "state": "failed", "reason": "refused"}])
        );
        assert_eq!(run["faults"], json!(["wan-delay=40ms"]));
    }
}
