//! The order of the halves, and the ratios they give. Pure.
//!
//! A round has two pairs of neighbouring halves: with and without the agent, and twice without it.
//! The second pair is measured exactly as the first, so its ratio, which is 1 in truth, shows what
//! the machine alone does to a ratio.

use super::half::Half;
use super::statistics::{Random, Spread};

/// One of the four halves of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// With the agent.
    With,
    /// Without it.
    Without,
    /// Without it, in the place of [`Slot::With`].
    NullWith,
    /// Without it, in the place of [`Slot::Without`].
    NullWithout,
}

impl Slot {
    /// Whether the agent runs.
    pub const fn has_agent(self) -> bool {
        matches!(self, Self::With)
    }
}

/// The order of every round. Coins decide it for each odd round, and the next one has every order
/// turned round: what drifts steadily, such as the machine's temperature, falls out.
pub fn order(rounds: u32, random: &mut Random) -> Vec<[Slot; 4]> {
    let mut coins = [false; 3];
    let round = |number: u32| {
        coins = match number.is_multiple_of(2) {
            true => std::array::from_fn(|_| random.coin()),
            false => coins.map(|coin| !coin),
        };
        let [pairs_turned, agent_turned, null_turned] = coins;
        let turn = |pair: [Slot; 2], turned: bool| if turned { [pair[1], pair[0]] } else { pair };
        let [a, b] = turn([Slot::With, Slot::Without], agent_turned);
        let [c, d] = turn([Slot::NullWith, Slot::NullWithout], null_turned);
        if pairs_turned { [c, d, a, b] } else { [a, b, c, d] }
    };
    (0..rounds).map(round).collect()
}

/// The halves of one round, in the order in which they ran.
pub type Round = [(Slot, Half); 4];

/// A figure whose ratio is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Requests per second.
    Throughput,
    /// 99th percentile of the latency.
    P99,
    /// The forwarder's CPU time for each request.
    ForwarderCpu,
}

impl Figure {
    /// **None**: this half has no such figure.
    pub fn of(self, half: &Half) -> Option<f64> {
        match self {
            Self::Throughput => Some(half.load.throughput),
            Self::P99 => Some(half.load.p99_us as f64),
            Self::ForwarderCpu => half.forwarder_cpu_ns_per_request,
        }
    }

    /// The figure in one slot of each round.
    pub fn in_slot(self, rounds: &[Round], slot: Slot) -> Vec<f64> {
        let halves = rounds.iter().flat_map(|round| round.iter().filter(move |half| half.0 == slot));
        halves.filter_map(|(_, half)| self.of(half)).collect()
    }

    /// Ratio `over` by `under`, over the rounds. **None**: the figure is missing.
    pub fn ratio(self, rounds: &[Round], over: Slot, under: Slot, seed: u64) -> Option<Spread> {
        let (over, under) = (self.in_slot(rounds, over), self.in_slot(rounds, under));
        let ratios: Vec<f64> = over.iter().zip(&under).map(|(over, under)| over / under).collect();
        // A missing half would shift the pairs against each other.
        let complete = over.len() == rounds.len() && under.len() == rounds.len();
        if complete { Spread::of(&ratios, seed) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::Load;

    fn position(round: &[Slot; 4], slot: Slot) -> usize {
        round.iter().position(|at| *at == slot).unwrap()
    }

    #[test]
    fn each_round_has_every_half_once_and_pairs_are_neighbours() {
        for round in order(20, &mut Random::new(3)) {
            let [with, without] = [Slot::With, Slot::Without].map(|slot| position(&round, slot));
            let null = [Slot::NullWith, Slot::NullWithout].map(|slot| position(&round, slot));
            assert_eq!((with / 2, null[0] / 2), (without / 2, null[1] / 2), "{round:?}");
            assert!(with != without && null[0] != null[1] && with / 2 != null[0] / 2, "{round:?}");
        }
    }

    #[test]
    fn each_second_round_is_the_one_before_turned_round() {
        let rounds = order(20, &mut Random::new(3));
        for pair in rounds.chunks(2) {
            for slot in [Slot::With, Slot::Without, Slot::NullWith, Slot::NullWithout] {
                assert_eq!(position(&pair[0], slot) + position(&pair[1], slot), 3, "{pair:?}");
            }
        }
        let first = rounds.iter().step_by(2).filter(|round| round[0] == Slot::With).count();
        assert!((1..10).contains(&first), "no chance in it: {rounds:?}");
    }

    #[test]
    fn a_seed_fixes_the_order() {
        assert_eq!(order(9, &mut Random::new(5)), order(9, &mut Random::new(5)));
        assert_ne!(order(9, &mut Random::new(5)), order(9, &mut Random::new(6)));
    }

    fn half(throughput: f64, cpu: Option<f64>) -> Half {
        Half {
            load: Load { throughput, p99_us: 100, requests: 1, failed: 0 },
            forwarder_cpu_ns_per_request: cpu,
            forwarder_busy: None,
            forwarder_waited: None,
            agent_cpu: None,
        }
    }

    #[test]
    fn a_ratio_pairs_the_halves_of_one_round() {
        // The machine halves its speed after the first round; each pair still says 0.9.
        let round = |scale: f64| {
            [
                (Slot::Without, half(100.0 * scale, Some(1.0))),
                (Slot::With, half(90.0 * scale, None)),
                (Slot::NullWithout, half(100.0 * scale, Some(1.0))),
                (Slot::NullWith, half(100.0 * scale, Some(1.0))),
            ]
        };
        let rounds = [round(1.0), round(0.5)];
        let spread = Figure::Throughput.ratio(&rounds, Slot::With, Slot::Without, 1).unwrap();
        assert_eq!((spread.median, spread.range), (0.9, [0.9, 0.9]));
        let null = Figure::ForwarderCpu.ratio(&rounds, Slot::NullWith, Slot::NullWithout, 1);
        assert_eq!(null.unwrap().median, 1.0);
        assert_eq!(Figure::ForwarderCpu.ratio(&rounds, Slot::With, Slot::Without, 1), None);
    }
}
