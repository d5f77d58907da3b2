//! How long a forwarder holds bytes.

use super::kernel::{BOUNDS, FORWARDER, PEER, Shown, durations};
use super::{Kind, Series, closed};
use insight_common::kernel::layout::Distribution;

/// Which way bytes went: to the upstream side, or back.
pub const DIRECTIONS: [&str; 2] = ["up", "down"];

/// Read on one side to written on the other by one thread in one turn.
pub const RESIDENCE: Series = Series {
    name: "insight_forward_residence_seconds",
    help: "From a read on one side to the write on the other by the same thread of a forwarder, in seconds.",
    kind: Kind::Histogram(&BOUNDS),
    labels: &[FORWARDER, closed("direction", &DIRECTIONS), PEER],
    bound: "forwarders and peer groups (255) x directions (2)",
};

/// What can have preceded a forwarder's write: the names of `insight_common`'s outcomes.
pub const OUTCOMES: [&str; 4] = ["paired", "no_read", "same_socket", "same_role"];

/// A forwarder's writes: how far [`RESIDENCE`] can be trusted.
pub const PAIRS: Series = Series {
    name: "insight_forward_pairs_total",
    help: "Writes of forwarders, by whether the same thread had read on the other side in the same turn. \
           A direction's residence is good for a ledger only if more than half are paired.",
    kind: Kind::Counter,
    labels: &[FORWARDER, closed("direction", &DIRECTIONS), closed("outcome", &OUTCOMES)],
    bound: "forwarders (9) x directions (2) x outcomes (4)",
};

/// This file's families.
pub const SERIES: &[Series] = &[RESIDENCE, PAIRS];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &[
    durations(Distribution::ResidenceUp, &RESIDENCE, &[("direction", DIRECTIONS[0])]),
    durations(Distribution::ResidenceDown, &RESIDENCE, &[("direction", DIRECTIONS[1])]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use insight_common::kernel::turn::{Direction, PairOutcome};

    #[test]
    fn the_kernel_halfs_names_are_in_the_table() {
        assert_eq!(Direction::ALL.map(Direction::name), DIRECTIONS);
        assert_eq!(PairOutcome::ALL.map(PairOutcome::name), OUTCOMES);
    }
}
