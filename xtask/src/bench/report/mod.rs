//! The result of `bench kernel`, as a table and as one JSON object.

mod json;
mod text;

use super::half::Half;
use super::machine::Machine;
use super::programs::Tally;
use super::ready::{Disabled, Set};
use super::rounds::{Figure, Pair, Round};
use super::setting::Placement;
use super::statistics::Spread;
use serde::Serialize;

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
    /// One in so many is measured in full, beyond the first 16 of each role and peer group.
    pub sample_one_in: u32,
    /// Load of each half after the warm-up.
    pub seconds: f64,
    /// Of the order and of the intervals.
    pub seed: u64,
    /// The kernel half is the committed object in every build of the agent.
    #[serde(flatten)]
    pub machine: Machine,
    /// Who ran on which CPU.
    pub placement: Placement,
    /// Whether load and origin were in a network namespace of their own, outside of the agent's
    /// scope.
    pub apart: bool,
    /// Halves at whose start or end other agents had programs loaded: sockets paid for those too.
    pub disturbed_halves: usize,
}

/// Everything that one run found out.
pub struct Report {
    /// What, where, how.
    pub conditions: Conditions,
    /// In the order of time.
    pub rounds: Vec<Round>,
    /// Programs of the default set.
    pub default: Cost,
    /// Programs of everything that can be measured.
    pub all: Cost,
}

/// What the programs of one set did in the halves in which their runs were counted.
#[derive(Debug, Default)]
pub struct Cost {
    /// With the load on the forwarder.
    pub tally: Tally,
    /// Residences on the way up in those halves.
    pub residence_samples: u64,
    /// With the load past the forwarder, on foreign sockets alone. **None**: load and origin were
    /// in the agent's scope.
    pub foreign: Option<Tally>,
    /// What was asked for and did not run.
    pub disabled: Vec<Disabled>,
}

/// A ratio with the agent, beside the ratio of two identical halves.
#[derive(Debug, Clone, Copy, Serialize)]
struct Compared {
    with_agent: Spread,
    identical_halves: Spread,
}

impl Report {
    fn compared(&self, figure: Figure, set: Set) -> Option<Compared> {
        let ratio = |pair| figure.ratio(&self.rounds, pair, self.conditions.seed);
        Some(Compared { with_agent: ratio(Pair::of(set))?, identical_halves: ratio(Pair::IDENTICAL)? })
    }

    fn cost(&self, set: Set) -> &Cost {
        match set {
            Set::Default => &self.default,
            Set::All => &self.all,
        }
    }

    fn halves(&self) -> impl Iterator<Item = &Half> {
        self.rounds.iter().flatten().map(|(_, half)| half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::Load;
    use crate::bench::programs::{Runs, Snapshot};
    use crate::bench::rounds::Slot;

    fn tally(events: u64, time_ns: u64) -> Tally {
        let names = [(1, "bytes_sent".to_owned()), (2, "task_switch".to_owned())].into();
        let after = [(1, Runs { events, time_ns }), (2, Runs { events: events / 10, time_ns: time_ns / 10 })];
        let mut tally = Tally::default();
        tally.add(&Snapshot::new(), &Snapshot::from(after), &names, 100);
        tally
    }

    /// Three rounds on a node apart: 5 % less with the default set, 10 % less with everything.
    pub fn report() -> Report {
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
            (Slot::AllWithout, half(20_000.0, None)),
            (Slot::All, half(18_000.0, Some(0.01))),
        ];
        let cost = |events, time_ns, foreign_ns| Cost {
            tally: tally(events, time_ns),
            residence_samples: 99,
            foreign: Some(tally(events, foreign_ns)),
            disabled: Vec::new(),
        };
        let disabled = Disabled { measurement: "drops".into(), reason: "hook_absent".into() };
        Report {
            conditions: Conditions {
                forwarder: "nginx".into(),
                forwarder_version: "nginx version: nginx/1.22.1".into(),
                load_generator: "h2load nghttp2/1.52.0".into(),
                connections: 16,
                sample_one_in: 1,
                seconds: 3.0,
                seed: 1,
                machine: Machine::example(),
                placement: Placement::of(&[0, 1]),
                apart: true,
                disturbed_halves: 0,
            },
            rounds: vec![round; 3],
            default: cost(400, 60_000, 12_000),
            all: Cost { disabled: vec![disabled], ..cost(500, 90_000, 20_000) },
        }
    }
}
