//! Series of discoveries: what the sources of `[[discovery]]` tell, and what becomes of it.

use super::{Kind, Label, Series, closed, configured};
use crate::model::discovery::{DropReason, LookupClass};

const DISCOVERY: Label = configured("discovery", "names of [[discovery]]");

/// Who is there.
pub const ENDPOINTS: Series = Series {
    name: "insight_discovery_endpoints",
    help: "Endpoints of the roster in use; absent until the first one has come.",
    kind: Kind::Gauge,
    labels: &[DISCOVERY],
    bound: "1 per discovery",
};

/// Age of the roster.
pub const LAST_SUCCESS: Series = Series {
    name: "insight_discovery_last_success_timestamp_seconds",
    help: "When the source last knew who is there, changed or not, in seconds since the Unix epoch; absent until it has.",
    kind: Kind::Gauge,
    labels: &[DISCOVERY],
    bound: "1 per discovery",
};

/// Whether the source knows.
pub const UP: Series = Series {
    name: "insight_discovery_up",
    help: "1 if the source knows at present who is there, 0 if the last roster it knew is in use; absent until it has said either.",
    kind: Kind::Gauge,
    labels: &[DISCOVERY],
    bound: "1 per discovery",
};

/// Look-ups that failed.
pub const FAILURES: Series = Series {
    name: "insight_discovery_failures_total",
    help: "Look-ups that brought no roster, by what went wrong.",
    kind: Kind::Counter,
    labels: &[DISCOVERY, closed("class", &LookupClass::NAMES)],
    bound: "6 per discovery",
};

/// What is not made.
pub const DROPPED: Series = Series {
    name: "insight_discovery_dropped_total",
    help: "Probes and nodes that could not be made of an endpoint, by reason; one that stays so is counted once.",
    kind: Kind::Counter,
    labels: &[DISCOVERY, closed("reason", &DropReason::NAMES)],
    bound: "7 per discovery",
};

/// Rosters that came to count.
pub const UPDATES: Series = Series {
    name: "insight_discovery_updates_total",
    help: "Rosters that took another one's place and count, the first one among them.",
    kind: Kind::Counter,
    labels: &[DISCOVERY],
    bound: "1 per discovery",
};

/// This file's families.
pub const SERIES: &[Series] = &[ENDPOINTS, LAST_SUCCESS, UP, FAILURES, DROPPED, UPDATES];
