//! The order of the halves, and the ratios they give. Pure.
//!
//! A round has pairs of neighbouring halves: the agent's default set and no agent, everything
//! that it can measure and no agent, and twice no agent. The last pair is measured exactly as the
//! others, so its ratio, which is 1 in truth, shows what the machine alone does to a ratio.

use super::half::Half;
use super::ready::Set;
use super::statistics::{Random, Spread};

/// Halves of a round.
pub const HALVES: usize = 6;

/// One of the halves of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// With the agent and its default set.
    With,
    /// Without it.
    Without,
    /// With the agent and everything that it can measure.
    All,
    /// Without it.
    AllWithout,
    /// Without it, in the place of [`Slot::With`].
    NullWith,
    /// Without it, in the place of [`Slot::Without`].
    NullWithout,
}

impl Slot {
    /// What the agent measures. **None**: it does not run.
    pub const fn set(self) -> Option<Set> {
        match self {
            Self::With => Some(Set::Default),
            Self::All => Some(Set::All),
            Self::Without | Self::AllWithout | Self::NullWith | Self::NullWithout => None,
        }
    }

    /// Whether the agent runs.
    pub const fn has_agent(self) -> bool {
        self.set().is_some()
    }
}

/// Two neighbouring halves whose ratio is taken, over by under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The half whose figure is divided.
    pub over: Slot,
    /// The half that it is divided by.
    pub under: Slot,
}

impl Pair {
    /// The default set by no agent.
    pub const DEFAULT: Self = Self { over: Slot::With, under: Slot::Without };
    /// Everything by no agent.
    pub const ALL: Self = Self { over: Slot::All, under: Slot::AllWithout };
    /// No agent by no agent.
    pub const IDENTICAL: Self = Self { over: Slot::NullWith, under: Slot::NullWithout };

    /// All of them.
    pub const EVERY: [Self; HALVES / 2] = [Self::DEFAULT, Self::ALL, Self::IDENTICAL];

    /// That with the agent and this set.
    pub const fn of(set: Set) -> Self {
        match set {
            Set::Default => Self::DEFAULT,
            Set::All => Self::ALL,
        }
    }
}

/// The order of every round of these pairs. Chance decides it for each odd round, and the next one
/// is turned round: what drifts steadily, such as the machine's temperature, falls out.
pub fn order(pairs: &[Pair], rounds: u32, random: &mut Random) -> Vec<Vec<Slot>> {
    let mut slots = Vec::new();
    let round = |number: u32| {
        if number.is_multiple_of(2) {
            slots = drawn(pairs, random);
        } else {
            slots.reverse();
        }
        slots.clone()
    };
    (0..rounds).map(round).collect()
}

/// The pairs in any order, each in either.
fn drawn(pairs: &[Pair], random: &mut Random) -> Vec<Slot> {
    let mut pairs = pairs.to_vec();
    for last in (1..pairs.len()).rev() {
        pairs.swap(last, random.below(last + 1));
    }
    let turn = |pair: Pair| match random.coin() {
        true => [pair.under, pair.over],
        false => [pair.over, pair.under],
    };
    pairs.into_iter().flat_map(turn).collect()
}

/// The halves of one round, in the order in which they ran.
pub type Round = [(Slot, Half); HALVES];

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

    /// The ratio of a pair, over the rounds. **None**: the figure is missing.
    pub fn ratio(self, rounds: &[Round], pair: Pair, seed: u64) -> Option<Spread> {
        let (over, under) = (self.in_slot(rounds, pair.over), self.in_slot(rounds, pair.under));
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

    fn position(round: &[Slot], slot: Slot) -> usize {
        round.iter().position(|at| *at == slot).unwrap()
    }

    #[test]
    fn each_round_has_every_half_once_and_pairs_are_neighbours() {
        for round in order(&Pair::EVERY, 20, &mut Random::new(3)) {
            let places = Pair::EVERY.map(|pair| {
                let [over, under] = [pair.over, pair.under].map(|slot| position(&round, slot));
                assert!(over != under && over / 2 == under / 2, "{round:?}");
                over / 2
            });
            assert_eq!(places.iter().sum::<usize>(), 3, "{round:?}");
            assert!(places[0] != places[1] && places[1] != places[2], "{round:?}");
        }
    }

    #[test]
    fn each_second_round_is_the_one_before_turned_round() {
        let rounds = order(&Pair::EVERY, 40, &mut Random::new(3));
        for pair in rounds.chunks(2) {
            assert!(pair[0].iter().eq(pair[1].iter().rev()), "{pair:?}");
        }
        for pair in Pair::EVERY {
            let drawn = rounds.iter().step_by(2);
            let first = drawn.clone().filter(|round| position(round, pair.over) / 2 == 0).count();
            let turned = drawn.filter(|round| position(round, pair.over) % 2 == 1).count();
            assert!((1..20).contains(&first) && (1..20).contains(&turned), "no chance in it: {rounds:?}");
        }
    }

    #[test]
    fn a_seed_fixes_the_order() {
        assert_eq!(order(&Pair::EVERY, 9, &mut Random::new(5)), order(&Pair::EVERY, 9, &mut Random::new(5)));
        assert_ne!(order(&Pair::EVERY, 9, &mut Random::new(5)), order(&Pair::EVERY, 9, &mut Random::new(6)));
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
            let without = half(100.0 * scale, Some(1.0));
            [
                (Slot::Without, without),
                (Slot::With, half(90.0 * scale, None)),
                (Slot::NullWithout, without),
                (Slot::NullWith, without),
                (Slot::All, half(80.0 * scale, Some(2.0))),
                (Slot::AllWithout, without),
            ]
        };
        let rounds = [round(1.0), round(0.5)];
        let spread = Figure::Throughput.ratio(&rounds, Pair::DEFAULT, 1).unwrap();
        assert_eq!((spread.median, spread.range), (0.9, [0.9, 0.9]));
        assert_eq!(Figure::Throughput.ratio(&rounds, Pair::ALL, 1).unwrap().median, 0.8);
        assert_eq!(Figure::ForwarderCpu.ratio(&rounds, Pair::ALL, 1).unwrap().median, 2.0);
        assert_eq!(Figure::ForwarderCpu.ratio(&rounds, Pair::IDENTICAL, 1).unwrap().median, 1.0);
        assert_eq!(Figure::ForwarderCpu.ratio(&rounds, Pair::DEFAULT, 1), None);
    }
}
