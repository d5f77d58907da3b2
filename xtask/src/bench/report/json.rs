//! The object on stdout.

use super::{Compared, Conditions, Report};
use crate::bench::half::Half;
use crate::bench::programs::{ProgramCost, is_on_sockets};
use crate::bench::ready::{Disabled, Set};
use crate::bench::rounds::{Figure, Slot};
use serde::Serialize;

/// The default set, on the first level; everything, under `all`.
#[derive(Serialize)]
struct Json<'a> {
    bench: &'static str,
    #[serde(flatten)]
    default: JsonCost<'a>,
    all: JsonCost<'a>,
    rounds: usize,
    #[serde(flatten)]
    conditions: &'a Conditions,
    halves: Vec<JsonHalf<'a>>,
}

/// Ratios are with the agent by without it.
#[derive(Serialize)]
struct JsonCost<'a> {
    throughput_ratio: Option<f64>,
    p99_ratio: Option<f64>,
    forwarder_cpu_ratio: Option<f64>,
    bpf_ns_per_request: Option<f64>,
    /// Socket hooks alone, on sockets outside of the scope.
    foreign_ns_per_event: Option<f64>,
    /// The same for a request from load to origin: about the part of `bpf_ns_per_request` that is
    /// theirs.
    foreign_ns_per_request: Option<f64>,
    foreign_programs: Vec<ProgramCost>,
    programs: Vec<ProgramCost>,
    throughput: Option<Compared>,
    p99: Option<Compared>,
    forwarder_cpu: Option<Compared>,
    requests_counted: u64,
    residence_samples: u64,
    disabled: &'a [Disabled],
}

#[derive(Serialize)]
struct JsonHalf<'a> {
    round: usize,
    slot: Slot,
    #[serde(flatten)]
    half: &'a Half,
}

impl Report {
    /// One JSON object, in one line.
    ///
    /// # Errors
    /// A figure is no number that JSON can hold.
    pub fn json(&self) -> serde_json::Result<String> {
        let halves = self.rounds.iter().enumerate().flat_map(|(at, round)| {
            round.iter().map(move |(slot, half)| JsonHalf { round: at + 1, slot: *slot, half })
        });
        serde_json::to_string(&Json {
            bench: "kernel",
            default: self.json_cost(Set::Default),
            all: self.json_cost(Set::All),
            rounds: self.rounds.len(),
            conditions: &self.conditions,
            halves: halves.collect(),
        })
    }

    fn json_cost(&self, set: Set) -> JsonCost<'_> {
        let [throughput, p99, forwarder_cpu] =
            [Figure::Throughput, Figure::P99, Figure::ForwarderCpu].map(|figure| self.compared(figure, set));
        let ratio = |compared: Option<Compared>| Some(compared?.with_agent.median);
        let cost = self.cost(set);
        let foreign = cost.foreign.as_ref();
        let sockets = foreign.map(|tally| tally.on_sockets());
        let programs = foreign.map_or_else(Vec::new, |tally| tally.programs());
        JsonCost {
            throughput_ratio: ratio(throughput),
            p99_ratio: ratio(p99),
            forwarder_cpu_ratio: ratio(forwarder_cpu),
            bpf_ns_per_request: cost.tally.ns_per_request(),
            foreign_ns_per_event: sockets.as_ref().and_then(|sockets| sockets.ns_per_event),
            foreign_ns_per_request: sockets.as_ref().map(|sockets| sockets.ns_per_request),
            foreign_programs: programs.into_iter().filter(|program| is_on_sockets(&program.name)).collect(),
            programs: cost.tally.programs(),
            throughput,
            p99,
            forwarder_cpu,
            requests_counted: cost.tally.requests(),
            residence_samples: cost.residence_samples,
            disabled: &cost.disabled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;

    fn object(report: &super::Report) -> serde_json::Value {
        serde_json::from_str(&report.json().unwrap()).unwrap()
    }

    #[test]
    fn the_object_has_the_promised_keys_for_the_default_set() {
        let json = object(&report());
        assert_eq!(json["throughput_ratio"], 0.95);
        assert_eq!(json["p99_ratio"], 1.0);
        assert_eq!(json["bpf_ns_per_request"], 660.0);
        assert_eq!(json["foreign_ns_per_event"], 30.0);
        assert_eq!(json["programs"][0]["name"], "bytes_sent");
        assert_eq!(json["programs"][0]["ns_per_event"], 150.0);
        assert_eq!(json["programs"][0]["events"], 400);
        assert_eq!(json["throughput"]["identical_halves"]["median"], 1.005);
        let conditions = (&json["forwarder"], &json["rounds"], &json["cpus"], &json["apart"]);
        assert_eq!(conditions, (&"nginx".into(), &3.into(), &2.into(), &true.into()));
        assert_eq!(json["halves"].as_array().unwrap().len(), 18);
        assert_eq!(json["halves"][0]["slot"], "with");
    }

    #[test]
    fn the_object_has_the_same_keys_for_everything() {
        let json = object(&report());
        let all = &json["all"];
        assert_eq!((&all["throughput_ratio"], &all["foreign_ns_per_event"]), (&0.9.into(), &40.0.into()));
        assert_eq!(all["foreign_ns_per_request"], 200.0);
        assert_eq!(all["foreign_programs"].as_array().unwrap().len(), 1, "switches are no socket's");
        assert_eq!(all["disabled"][0]["measurement"], "drops");
        for key in all.as_object().unwrap().keys() {
            assert!(json.get(key).is_some(), "{key} is in all only");
        }
    }

    #[test]
    fn what_was_not_measured_is_null() {
        let mut report = report();
        report.rounds.iter_mut().flatten().for_each(|(_, half)| half.forwarder_cpu_ns_per_request = None);
        report.default.foreign = None;
        let json = object(&report);
        assert!(json["forwarder_cpu_ratio"].is_null() && json["foreign_ns_per_event"].is_null());
    }
}
