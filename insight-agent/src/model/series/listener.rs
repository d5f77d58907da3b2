//! Series of the agent's own listeners: how full are they, and whom did they turn away?

use super::{Kind, Label, Series, closed};
use crate::model::refusal::Refusal;

/// The agent's listeners, by their configuration's tables.
pub const LISTENERS: [&str; 3] = ["metrics", "admin", "grpc"];

const LISTENER: Label = closed("listener", &LISTENERS);

/// How many there are.
pub const CONNECTIONS: Series = Series {
    name: "insight_listener_connections",
    help: "Open connections of a listener.",
    kind: Kind::Gauge,
    labels: &[LISTENER],
    bound: "3",
};

/// How many there may be.
pub const CONNECTIONS_LIMIT: Series = Series {
    name: "insight_listener_connections_limit",
    help: "Most connections that a listener keeps open: max_connections of its table, or less where this process may not open that many files.",
    kind: Kind::Gauge,
    labels: &[LISTENER],
    bound: "3",
};

/// Who had to go.
pub const REFUSED: Series = Series {
    name: "insight_listener_refused_total",
    help: "Connections and requests that a listener turned away, by reason.",
    kind: Kind::Counter,
    labels: &[LISTENER, closed("reason", &Refusal::NAMES)],
    bound: "3 x 16",
};

/// This file's families.
pub const SERIES: &[Series] = &[CONNECTIONS, CONNECTIONS_LIMIT, REFUSED];
