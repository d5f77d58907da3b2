//! The result, as a table and as one JSON object.

use super::half::Half;
use super::machine::Machine;
use super::programs::{ProgramCost, Tally};
use super::rounds::{Figure, Round, Slot};
use super::setting::Placement;
use super::statistics::{Spread, median};
use serde::Serialize;
use std::fmt::Write;

/// What was measured, where and how.
#[derive(Debug, Clone, Serialize)]
pub struct Conditions {
    /// nginx or haproxy.
    pub forwarder: String,
    /// As it says itself.
    pub forwarder_version: String,
    /// As it says itself.
    pub load_generator: String,
    /// Connections, each with one request under way.
    pub connections: u32,
    /// Load of each half after the warm-up.
    pub seconds: f64,
    /// Of the order and of the intervals.
    pub seed: u64,
    /// The kernel half is the committed object in every build of the agent.
    #[serde(flatten)]
    pub machine: Machine,
    /// Who ran on which.
    pub placement: Placement,
    /// Halves at whose start or end other agents had programs loaded: sockets paid for those too.
    pub disturbed_halves: usize,
}

/// Everything that one run found out.
pub struct Report {
    /// What, where, how.
    pub conditions: Conditions,
    /// In the order of time.
    pub rounds: Vec<Round>,
    /// Program runs of the counted halves.
    pub tally: Tally,
    /// Residences on the way up in the counted halves.
    pub residence_samples: u64,
}

/// A ratio with the agent, beside the ratio of two identical halves.
#[derive(Debug, Clone, Copy, Serialize)]
struct Compared {
    with_agent: Spread,
    identical_halves: Spread,
}

/// The object on stdout. Ratios are with the agent by without it.
#[derive(Serialize)]
struct Json<'a> {
    bench: &'static str,
    throughput_ratio: Option<f64>,
    p99_ratio: Option<f64>,
    forwarder_cpu_ratio: Option<f64>,
    bpf_ns_per_request: Option<f64>,
    programs: &'a [ProgramCost],
    throughput: Option<Compared>,
    p99: Option<Compared>,
    forwarder_cpu: Option<Compared>,
    requests_counted: u64,
    residence_samples: u64,
    rounds: usize,
    #[serde(flatten)]
    conditions: &'a Conditions,
    halves: Vec<JsonHalf<'a>>,
}

#[derive(Serialize)]
struct JsonHalf<'a> {
    round: usize,
    slot: Slot,
    #[serde(flatten)]
    half: &'a Half,
}

impl Report {
    fn compared(&self, figure: Figure) -> Option<Compared> {
        let ratio = |over, under| figure.ratio(&self.rounds, over, under, self.conditions.seed);
        Some(Compared {
            with_agent: ratio(Slot::With, Slot::Without)?,
            identical_halves: ratio(Slot::NullWith, Slot::NullWithout)?,
        })
    }

    /// One JSON object, in one line.
    ///
    /// # Errors
    /// A figure is no number that JSON can hold.
    pub fn json(&self) -> serde_json::Result<String> {
        let [throughput, p99, cpu] =
            [Figure::Throughput, Figure::P99, Figure::ForwarderCpu].map(|figure| self.compared(figure));
        let ratio = |compared: Option<Compared>| Some(compared?.with_agent.median);
        let halves = self.rounds.iter().enumerate().flat_map(|(at, round)| {
            round.iter().map(move |(slot, half)| JsonHalf { round: at + 1, slot: *slot, half })
        });
        serde_json::to_string(&Json {
            bench: "kernel",
            throughput_ratio: ratio(throughput),
            p99_ratio: ratio(p99),
            forwarder_cpu_ratio: ratio(cpu),
            bpf_ns_per_request: self.tally.ns_per_request(),
            programs: &self.tally.programs(),
            throughput,
            p99,
            forwarder_cpu: cpu,
            requests_counted: self.tally.requests(),
            residence_samples: self.residence_samples,
            rounds: self.rounds.len(),
            conditions: &self.conditions,
            halves: halves.collect(),
        })
    }

    /// The tables.
    pub fn text(&self) -> String {
        let mut text = self.head();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\n{:<26} {:>9} {:>9} {:>8}  {:<16}{:<18}two identical halves",
            "", "without", "with", "ratio", "95 % interval", "lowest, highest"
        );
        for (name, figure) in [
            ("requests/s", Figure::Throughput),
            ("p99, us", Figure::P99),
            ("forwarder CPU/request, us", Figure::ForwarderCpu),
        ] {
            text += &self.row(name, figure);
        }
        text += &self.programs();
        text
    }

    fn head(&self) -> String {
        let Conditions { placement, .. } = &self.conditions;
        let c = &self.conditions;
        let cpus = |cpus: &[usize]| match cpus {
            [] => "any CPU".to_owned(),
            some => format!("CPU {}", some.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        };
        let mut text = format!(
            "h2load -> {} -> origin: {} connections with one request each, {} rounds of 4 x {} s, seed {}\n\
             {} on {}, load ({}) and origin on {}, agent ({} build) anywhere\n\
             {}\n",
            c.forwarder,
            c.connections,
            self.rounds.len(),
            c.seconds,
            c.seed,
            c.forwarder_version,
            cpus(&placement.forwarder),
            c.load_generator,
            cpus(&placement.others),
            c.machine.agent_build,
            c.machine.text(),
        );
        let halves = || self.rounds.iter().flatten().map(|(_, half)| half);
        for (what, shares) in [
            ("forwarder on a CPU", halves().filter_map(|half| half.forwarder_busy).collect::<Vec<_>>()),
            ("forwarder waiting for a CPU", halves().filter_map(|half| half.forwarder_waited).collect()),
            ("agent's user half on a CPU", halves().filter_map(|half| half.agent_cpu).collect()),
        ] {
            if let Some(share) = median(&shares) {
                let _ = writeln!(text, "{what}: {:.1} % of a half (median)", 100.0 * share);
            }
        }
        let failed: u64 = halves().map(|half| half.load.failed).sum();
        if failed > 0 {
            let _ = writeln!(text, "{failed} requests failed");
        }
        if c.disturbed_halves > 0 {
            let _ = writeln!(
                text,
                "CAUTION: in {} of {} halves other agents had programs loaded, which cost the forwarder too",
                c.disturbed_halves,
                4 * self.rounds.len()
            );
        }
        text
    }

    fn row(&self, name: &str, figure: Figure) -> String {
        // Nanoseconds of CPU are shown as microseconds.
        let scale = if figure == Figure::ForwarderCpu { 1e-3 } else { 1.0 };
        let middle = |slot| {
            let value = median(&figure.in_slot(&self.rounds, slot));
            value.map_or("-".into(), |value| three_digits(value * scale))
        };
        let (without, with) = (middle(Slot::Without), middle(Slot::With));
        let Some(Compared { with_agent, identical_halves: null }) = self.compared(figure) else {
            return format!("{name:<26} {without:>9} {with:>9}\n");
        };
        let between = |[low, high]: [f64; 2]| format!("{low:.3} to {high:.3}");
        format!(
            "{name:<26} {without:>9} {with:>9} {:>8.3}  {:<16}{:<18}{:.3}, {}\n",
            with_agent.median,
            between(with_agent.interval),
            between(with_agent.range),
            null.median,
            between(null.range),
        )
    }

    fn programs(&self) -> String {
        let mut text = format!(
            "\n{:<18} {:>10} {:>9} {:>15} {:>11}\n",
            "program", "events", "ns/event", "events/request", "ns/request"
        );
        for program in self.tally.programs() {
            let _ = writeln!(
                text,
                "{:<18} {:>10} {:>9} {:>15.3} {:>11.1}",
                program.name,
                program.events,
                program.ns_per_event.map_or("-".into(), |ns| format!("{ns:.0}")),
                program.events_per_request,
                program.ns_per_request
            );
        }
        let total = self.tally.ns_per_request().map_or("-".into(), |ns| format!("{ns:.0}"));
        let requests = self.tally.requests();
        let seen = self.residence_samples as f64 / requests.max(1) as f64;
        let _ = write!(
            text,
            "bpf_ns_per_request {total}: over {requests} requests in halves of their own, since counting costs too.\n\
             h2load's and the origin's sockets are on this host as well, and their share is in it.\n\
             Residences on the way up: {seen:.2} a request"
        );
        text
    }
}

/// Whole numbers from 100 on, decimals below.
fn three_digits(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::Load;
    use crate::bench::programs::{Runs, Snapshot};
    use std::collections::BTreeMap;

    fn report() -> Report {
        let half = |throughput, agent_cpu| Half {
            load: Load { throughput, p99_us: 500, requests: 1000, failed: 0 },
            forwarder_cpu_ns_per_request: Some(1e9 / throughput),
            forwarder_busy: None,
            forwarder_waited: Some(0.02),
            agent_cpu,
        };
        let round = [
            (Slot::With, half(19_000.0, Some(0.01))),
            (Slot::Without, half(20_000.0, None)),
            (Slot::NullWith, half(20_100.0, None)),
            (Slot::NullWithout, half(20_000.0, None)),
        ];
        let mut tally = Tally::default();
        let names = BTreeMap::from([(1, "bytes_sent".to_owned())]);
        tally.add(
            &Snapshot::new(),
            &Snapshot::from([(1, Runs { events: 400, time_ns: 60_000 })]),
            &names,
            100,
        );
        Report {
            conditions: Conditions {
                forwarder: "nginx".into(),
                forwarder_version: "nginx version: nginx/1.22.1".into(),
                load_generator: "h2load nghttp2/1.52.0".into(),
                connections: 16,
                seconds: 3.0,
                seed: 1,
                machine: Machine::example(),
                placement: Placement::of(&[0, 1]),
                disturbed_halves: 0,
            },
            rounds: vec![round; 3],
            tally,
            residence_samples: 99,
        }
    }

    #[test]
    fn the_json_object_has_the_promised_keys() {
        let json: serde_json::Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        assert_eq!(json["throughput_ratio"], 0.95);
        assert_eq!(json["p99_ratio"], 1.0);
        assert_eq!(json["bpf_ns_per_request"], 600.0);
        assert_eq!(json["programs"][0]["name"], "bytes_sent");
        assert_eq!(json["programs"][0]["ns_per_event"], 150.0);
        assert_eq!(json["programs"][0]["events"], 400);
        assert_eq!(json["throughput"]["identical_halves"]["median"], 1.005);
        assert_eq!(
            (&json["forwarder"], &json["rounds"], &json["cpus"]),
            (&"nginx".into(), &3.into(), &2.into())
        );
        assert_eq!(json["halves"].as_array().unwrap().len(), 12);
        assert_eq!(json["halves"][0]["slot"], "with");
    }

    #[test]
    fn the_table_shows_the_ratio_beside_that_of_identical_halves() {
        let text = report().text();
        let row = text.lines().find(|line| line.starts_with("requests/s")).unwrap();
        assert!(row.contains("20000") && row.contains("0.950") && row.contains("1.005"), "{row}");
        assert!(text.contains("bpf_ns_per_request 600") && text.contains("0.99 a request"), "{text}");
        assert!(!text.contains("CAUTION"), "{text}");
    }

    #[test]
    fn another_agent_on_the_machine_is_not_kept_quiet() {
        let mut report = report();
        report.conditions.disturbed_halves = 5;
        assert!(report.text().contains("CAUTION: in 5 of 12 halves"));
    }

    #[test]
    fn without_cpu_times_the_row_has_no_ratio_and_the_object_null() {
        let mut report = report();
        report.rounds.iter_mut().flatten().for_each(|(_, half)| half.forwarder_cpu_ns_per_request = None);
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert!(json["forwarder_cpu_ratio"].is_null());
        assert!(report.text().lines().any(|line| line.starts_with("forwarder CPU") && line.ends_with('-')));
    }
}
