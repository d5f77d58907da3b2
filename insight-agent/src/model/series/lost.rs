//! Every loss, anywhere, is one family with a closed set of losses.

use super::{Kind, Series, closed};
use insight_common::kernel::loss::{Loss as KernelLoss, Measurement};

/// Measurements outside of the kernel that can lose something.
const OUTSIDE: [&str; 10] = [
    "probe",
    "burst",
    "dns",
    "hop_headers",
    "service_timing",
    "ping",
    "link",
    "report",
    "window_ledger",
    "host",
];

/// Measurements that can lose something.
pub const MEASUREMENTS: [&str; OUTSIDE.len() + Measurement::ALL.len()] = measurements();

const fn measurements() -> [&'static str; OUTSIDE.len() + Measurement::ALL.len()] {
    let mut all = [""; OUTSIDE.len() + Measurement::ALL.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < OUTSIDE.len() { OUTSIDE[at] } else { Measurement::ALL[at - OUTSIDE.len()].name() };
        at += 1;
    }
    all
}

/// Ways of losing something. The closed set of the `loss` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// A scheduled probe was not started: too many of its kind were under way.
    InFlight,
    /// A good answer, or a deadline that passed, was not used: the prober itself was starved of CPU or
    /// stood still.
    Voided,
    /// A header or trailer that no parser understood.
    Malformed,
    /// Something left out because there were too many of its kind, or it was too long.
    Capped,
    /// A hop's name that the route does not list.
    UnknownHop,
    /// A response without the figure that its mode promises.
    Missing,
    /// A reply that belongs to another request.
    Mismatched,
    /// A lookup that was not started: one of the same name was under way, and its answer was waited for.
    Skipped,
    /// A PING left out because the next hop asked for fewer.
    BackedOff,
    /// A sample that came after its consumer had gone or fallen behind.
    Dropped,
    /// A map of the kernel half had no room.
    MapFull,
    /// Kernel memory could not be read.
    Unreadable,
    /// The socket's peer group was not known.
    NoPeer,
    /// Something ended that was not seen to begin.
    Unstamped,
    /// More than one exchange at once on a connection.
    Overlapped,
    /// The first exchange of a connection, which is no request.
    Opening,
    /// The kernel gave an average in place of a sample.
    Smoothed,
    /// A thread wrote to the socket that it had read from.
    SameSocket,
    /// A thread wrote to another socket of the same side.
    SameRole,
    /// A ledger whose hops did not speak like those of most others in its window.
    OtherShape,
    /// A window over which a node's agent was restarted.
    Restarted,
    /// A window of which the polls took too long for its length.
    Blurred,
    /// A report that contradicts the one before it.
    Contradiction,
    /// Evidence of which too small a part could be paired.
    Unpaired,
    /// A file of the host that was there and made no sense.
    Unparsed,
}

impl Loss {
    /// The names, in order of declaration.
    pub const NAMES: [&'static str; 25] = [
        "in_flight",
        "voided",
        "malformed",
        "capped",
        "unknown_hop",
        "missing",
        "mismatched",
        "skipped",
        "backed_off",
        "dropped",
        "map_full",
        "unreadable",
        "no_peer",
        "unstamped",
        "overlapped",
        "opening",
        "smoothed",
        "same_socket",
        "same_role",
        "other_shape",
        "restarted",
        "blurred",
        "contradiction",
        "unpaired",
        "unparsed",
    ];

    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl From<KernelLoss> for Loss {
    fn from(loss: KernelLoss) -> Self {
        match loss {
            KernelLoss::MapFull => Self::MapFull,
            KernelLoss::Unreadable => Self::Unreadable,
            KernelLoss::NoPeer => Self::NoPeer,
            KernelLoss::Unstamped => Self::Unstamped,
            KernelLoss::Overlapped => Self::Overlapped,
            KernelLoss::Opening => Self::Opening,
            KernelLoss::Smoothed => Self::Smoothed,
            KernelLoss::SameSocket => Self::SameSocket,
            KernelLoss::SameRole => Self::SameRole,
        }
    }
}

/// What was lost.
pub const LOST: Series = Series {
    name: "insight_lost_total",
    help: "What a measurement lost, by kind of loss.",
    kind: Kind::Counter,
    labels: &[closed("measurement", &MEASUREMENTS), closed("loss", &Loss::NAMES)],
    bound: "measurements x losses",
};

/// This file's families.
pub const SERIES: &[Series] = &[LOST];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_halfs_names_are_in_the_table() {
        for loss in KernelLoss::ALL {
            assert_eq!(Loss::from(loss).as_str(), loss.name());
        }
        assert!(Measurement::ALL.iter().all(|measurement| MEASUREMENTS.contains(&measurement.name())));
        let different: std::collections::BTreeSet<_> = MEASUREMENTS.into_iter().collect();
        assert_eq!(different.len(), MEASUREMENTS.len());
    }
}
