//! Series of health watches: what do services say of themselves, and for how long?

use super::path::{SOURCE, TARGET};
use super::probe::PROBE;
use super::{Kind, Label, Series, closed};
use crate::model::outcome::FailureClass;

const LABELS: &[Label] = &[SOURCE, TARGET, PROBE];
const BOUND: &str = "probes with health_watch";

/// What the service says.
pub const SERVING: Series = Series {
    name: "insight_probe_health_serving",
    help: "Whether the service that a health watch listens to says SERVING: 1, or 0 for any other state. Absent while the stream is broken, because then nobody says anything.",
    kind: Kind::Gauge,
    labels: LABELS,
    bound: BOUND,
};

/// Since when.
pub const AGE: Series = Series {
    name: "insight_probe_health_age_seconds",
    help: "How long the service has been saying the state it is in, as far as the watch has heard, in seconds; absent with the state.",
    kind: Kind::Gauge,
    labels: LABELS,
    bound: BOUND,
};

/// How often it changed.
pub const CHANGES: Series = Series {
    name: "insight_probe_health_changes_total",
    help: "Changes of the state that a health watch was told, also of those that were found out after a break.",
    kind: Kind::Counter,
    labels: LABELS,
    bound: BOUND,
};

/// How often nobody said anything any more.
pub const BREAKS: Series = Series {
    name: "insight_probe_health_breaks_total",
    help: "Streams of health watches that broke or could not be opened, by the failure class of how they did.",
    kind: Kind::Counter,
    labels: &[SOURCE, TARGET, PROBE, closed("reason", &FailureClass::NAMES)],
    bound: "probes with health_watch x failure classes that occurred (17)",
};

/// This file's families.
pub const SERIES: &[Series] = &[SERVING, AGE, CHANGES, BREAKS];
