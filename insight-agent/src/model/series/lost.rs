//! Every loss, anywhere, is one family with a closed set of losses.

use super::{Kind, Series, closed};

/// Measurements that can lose something.
pub const MEASUREMENTS: [&str; 5] = ["probe", "hop_headers", "service_timing", "ping", "link"];

/// Ways of losing something. The closed set of the `loss` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// A scheduled probe was not started: too many of its kind were under way.
    InFlight,
    /// A good answer was not used: the prober itself was starved of CPU.
    Voided,
    /// A header or trailer that no parser understood.
    Malformed,
    /// A header left out because there were too many, or it was too long.
    Capped,
    /// A hop's name that the route does not list.
    UnknownHop,
    /// A response without the figure that its mode promises.
    Missing,
    /// A reply that belongs to another request.
    Mismatched,
    /// A PING left out because the next hop asked for fewer.
    BackedOff,
    /// A sample that came after its consumer had gone or fallen behind.
    Dropped,
}

impl Loss {
    /// The names, in order of declaration.
    pub const NAMES: [&'static str; 9] = [
        "in_flight",
        "voided",
        "malformed",
        "capped",
        "unknown_hop",
        "missing",
        "mismatched",
        "backed_off",
        "dropped",
    ];

    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// What was lost.
pub const LOST: Series = Series {
    name: "insight_lost_total",
    help: "What a measurement lost, by kind of loss.",
    kind: Kind::Counter,
    labels: &[closed("measurement", &MEASUREMENTS), closed("loss", &Loss::NAMES)],
    bound: "measurements (5) x losses (9)",
};

/// This file's families.
pub const SERIES: &[Series] = &[LOST];
