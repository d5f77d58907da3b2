//! What a soak found, judged; as a table and as one JSON object.

use super::churn::Churned;
use crate::bench::machine::Machine;
use crate::bench::statistics::median;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What the resident memory of the agent may grow by, from the second quarter to the last one.
const MOST_GROWTH: f64 = 1.05;

/// Entries that the table may have gained or lost against the open sockets. Of 1,000 connections a
/// second, each with two sockets on the node, one stuck of 100,000 is above it within five minutes.
const MOST_DIFFERENCE: usize = 4;

/// Share of the connections asked for that must have been answered: else it was another load.
const LEAST_RATE: f64 = 0.9;

/// Failed connections that still leave a verdict: one in a thousand.
const MOST_FAILED: f64 = 0.001;

/// What the table of sockets has, beside what the kernel has.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Held {
    /// Entries.
    pub entries: usize,
    /// Connections of the node that are open.
    pub open: usize,
}

/// The table of sockets at three times.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Entries {
    /// Before the load, with the idle connections.
    pub start: Held,
    /// Entries as soon as the load had ended.
    pub after_load: usize,
    /// When what was closing had closed.
    pub end: Held,
    /// How long that took. **Unit**: s.
    pub settled_seconds: f64,
}

/// What came of a soak.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Length of the load. **Unit**: s.
    pub seconds: f64,
    /// Asked for. **Unit**: connections per second.
    pub rate: u32,
    /// Connections.
    #[serde(flatten)]
    pub churned: Churned,
    /// Connections that stayed open all the time.
    pub idle_connections: usize,
    /// Resident memory of the agent, once a second. **Unit**: bytes.
    pub rss_bytes: Vec<u64>,
    /// The table of sockets.
    pub entries: Entries,
    /// Pages of metrics.
    pub scrapes: u64,
    /// Counters and histograms on the last one.
    pub cumulative_series: usize,
    /// How often one of them fell or went away.
    pub violations: u64,
    /// The first of those.
    pub first_violations: Vec<String>,
    /// `insight_lost_total` by measurement and kind of loss, at the end; zeros are left out.
    pub lost: BTreeMap<String, f64>,
    /// Share of one CPU that the agent used.
    pub agent_cpu: f64,
    /// Where.
    pub machine: Machine,
}

/// One part of the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is judged.
    pub name: &'static str,
    /// Whether it is as it must be.
    pub passed: bool,
    /// What was found, beside what is allowed.
    pub found: String,
}

#[derive(Serialize)]
struct Json<'a> {
    soak: &'static str,
    passed: bool,
    checks: &'a [Check],
    achieved_rate: f64,
    rss_second_quarter_bytes: Option<f64>,
    rss_last_quarter_bytes: Option<f64>,
    #[serde(flatten)]
    report: &'a Report,
}

impl Report {
    /// Answered connections per second.
    pub fn achieved_rate(&self) -> f64 {
        self.churned.answered as f64 / self.seconds
    }

    /// Whether everything is as it must be.
    pub fn passed(&self) -> bool {
        self.checks().iter().all(|check| check.passed)
    }

    /// Every part of the verdict.
    pub fn checks(&self) -> Vec<Check> {
        let check = |name, passed, found| Check { name, passed, found };
        vec![self.churn(), self.memory(), self.table()]
            .into_iter()
            .chain([
                check(
                    "counters and histograms",
                    self.violations == 0 && self.cumulative_series > 0,
                    format!(
                        "{} series over {} scrapes, {} falls{}",
                        self.cumulative_series,
                        self.scrapes,
                        self.violations,
                        self.first_violations.first().map_or(String::new(), |first| format!(": {first}"))
                    ),
                ),
                check(
                    "room in the maps",
                    self.map_full() == 0.0,
                    format!("{:.0} losses for a full map, none is allowed", self.map_full()),
                ),
            ])
            .collect()
    }

    fn churn(&self) -> Check {
        let Churned { answered, failed, first_failure } = &self.churned;
        let asked = f64::from(self.rate);
        let most_failed = (*answered as f64 * MOST_FAILED).floor();
        let why = first_failure.as_ref().map_or(String::new(), |why| format!("; the first: {why}"));
        Check {
            name: "connections",
            passed: self.achieved_rate() >= LEAST_RATE * asked && *failed as f64 <= most_failed,
            found: format!(
                "{:.1}/s of {asked}/s answered, {:.1}/s are enough; {failed} of {} failed, {most_failed} may{why}",
                self.achieved_rate(),
                LEAST_RATE * asked,
                answered + failed,
            ),
        }
    }

    fn memory(&self) -> Check {
        let [second, last] = self.quarters();
        let mib = |bytes: Option<f64>| bytes.map_or("-".into(), |bytes| format!("{:.2}", bytes / 1048576.0));
        let growth = second.zip(last).map(|(second, last)| last / second);
        Check {
            name: "resident memory",
            passed: growth.is_some_and(|growth| growth <= MOST_GROWTH),
            found: format!(
                "{} MiB in the second quarter, {} MiB in the last, ratio {} ({MOST_GROWTH} may be)",
                mib(second),
                mib(last),
                growth.map_or("-".into(), |growth| format!("{growth:.3}")),
            ),
        }
    }

    fn table(&self) -> Check {
        let Entries { start, after_load, end, settled_seconds } = self.entries;
        // Listeners and the like are in the table and not among the connections, all the time.
        let stuck = (end.entries + start.open).abs_diff(start.entries + end.open);
        Check {
            name: "table of sockets",
            passed: start.entries >= self.idle_connections && stuck <= MOST_DIFFERENCE,
            found: format!(
                "{} entries for {} open connections at the start, {after_load} after the load, {} for {} \
                 {settled_seconds:.0} s later; {stuck} differ, {MOST_DIFFERENCE} may",
                start.entries, start.open, end.entries, end.open,
            ),
        }
    }

    /// Medians of the resident memory in the second and in the last quarter.
    fn quarters(&self) -> [Option<f64>; 2] {
        let bytes: Vec<f64> = self.rss_bytes.iter().map(|bytes| *bytes as f64).collect();
        let quarter = bytes.len() / 4;
        [median(&bytes[quarter..2 * quarter]), median(&bytes[bytes.len() - quarter..])]
    }

    fn map_full(&self) -> f64 {
        // The sum of no floats is -0.
        self.lost.iter().filter(|(what, _)| what.ends_with(" map_full")).fold(0.0, |sum, lost| sum + lost.1)
    }

    /// One JSON object, in one line.
    ///
    /// # Errors
    /// A figure is no number that JSON can hold.
    pub fn json(&self) -> serde_json::Result<String> {
        let [second, last] = self.quarters();
        serde_json::to_string(&Json {
            soak: "kernel",
            passed: self.passed(),
            checks: &self.checks(),
            achieved_rate: self.achieved_rate(),
            rss_second_quarter_bytes: second,
            rss_last_quarter_bytes: last,
            report: self,
        })
    }

    /// The table; its last line is the verdict.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} connections a second through nginx for {:.0} s, one request each, also upstream; every 16th reset\n\
             agent ({} build) with its default kernel measurements, scraped once a second, {:.1} % of a CPU\n\
             {}\n\n",
            self.rate,
            self.seconds,
            self.machine.agent_build,
            100.0 * self.agent_cpu,
            self.machine.text(),
        );
        for Check { name, passed, found } in self.checks() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:<5} {name:<24} {found}", if passed { "ok" } else { "FAIL" });
        }
        for violation in self.first_violations.iter().skip(1) {
            let _ = writeln!(text, "      {violation}");
        }
        for (what, count) in &self.lost {
            let _ = writeln!(text, "      insight_lost_total {what}: {count}");
        }
        text += if self.passed() { "soak passed" } else { "soak FAILED" };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let held = Held { entries: 40, open: 38 };
        let entries = Entries { start: held, after_load: 300, end: held, settled_seconds: 2.0 };
        Report {
            seconds: 60.0,
            rate: 1000,
            churned: Churned { answered: 59_900, failed: 0, first_failure: None },
            idle_connections: 32,
            // Grows while it starts, then stays.
            rss_bytes: (0..60).map(|at| if at < 15 { at << 20 } else { 30 << 20 }).collect(),
            entries,
            scrapes: 60,
            cumulative_series: 500,
            violations: 0,
            first_violations: Vec::new(),
            lost: BTreeMap::from([("turnaround overlap".to_owned(), 3.0)]),
            agent_cpu: 0.01,
            machine: Machine::example(),
        }
    }

    fn failed(report: &Report) -> Vec<&'static str> {
        report.checks().into_iter().filter(|check| !check.passed).map(|check| check.name).collect()
    }

    #[test]
    fn an_agent_that_holds_what_it_held_passes() {
        let report = report();
        assert_eq!(failed(&report), [""; 0]);
        assert!(report.text().ends_with("soak passed"), "{}", report.text());
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!((&json["passed"], &json["answered"]), (&true.into(), &59_900.into()));
        assert_eq!(json["entries"]["after_load"], 300);
    }

    #[test]
    fn memory_that_still_grows_at_the_end_fails() {
        let mut report = report();
        report.rss_bytes = (0..60).map(|at| (100 + at) << 20).collect();
        assert_eq!(failed(&report), ["resident memory"]);
        assert!(report.text().ends_with("soak FAILED"));
        report.rss_bytes.truncate(3);
        assert_eq!(failed(&report), ["resident memory"], "too short to tell");
    }

    #[test]
    fn stuck_and_missing_entries_fail() {
        for end in [45, 35] {
            let mut report = report();
            report.entries.end.entries = end;
            assert_eq!(failed(&report), ["table of sockets"]);
        }
    }

    #[test]
    fn an_entry_of_a_connection_that_is_still_open_is_not_stuck() {
        let mut report = report();
        report.entries.end = Held { entries: 90, open: 88 };
        assert_eq!(failed(&report), [""; 0]);
    }

    #[test]
    fn a_table_without_the_idle_connections_proves_nothing() {
        let mut report = report();
        let nothing = Held { entries: 0, open: 0 };
        (report.entries.start, report.entries.end) = (nothing, nothing);
        assert_eq!(failed(&report), ["table of sockets"]);
    }

    #[test]
    fn a_full_map_a_fall_and_a_load_that_was_none_fail_each_by_itself() {
        let mut full = report();
        full.lost.insert("sockets map_full".into(), 1.0);
        assert_eq!(failed(&full), ["room in the maps"]);
        let mut fell = report();
        (fell.violations, fell.first_violations) = (1, vec!["a_total fell from 2 to 1".into()]);
        assert_eq!(failed(&fell), ["counters and histograms"]);
        assert!(fell.text().contains("a_total fell from 2 to 1"));
        let mut slow = report();
        slow.churned.answered = 50_000;
        assert_eq!(failed(&slow), ["connections"]);
        let mut broken = report();
        (broken.churned.failed, broken.churned.first_failure) = (100, Some("connect: refused".into()));
        assert_eq!(failed(&broken), ["connections"]);
    }
}
