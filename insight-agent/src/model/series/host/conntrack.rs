//! How full the table of tracked connections is.

use super::super::{Kind, Series};
use super::single;

/// What the families' names begin with; the rest is the figure's name.
pub const PREFIX: &str = "node_nf_conntrack_";

macro_rules! row {
    ($figure:literal, $help:literal) => {
        single(concat!("node_nf_conntrack_", $figure), $help, Kind::Gauge)
    };
}

/// This file's families. Gauges as in node_exporter, though most only rise.
pub const SERIES: &[Series] = &[
    row!("entries", "Connections that are tracked."),
    row!("entries_limit", "Connections that can be tracked at most."),
    row!("stat_found", "Look-ups that found a connection."),
    row!("stat_invalid", "Packets that cannot be tracked."),
    row!("stat_ignore", "Packets that were not tracked on purpose."),
    row!("stat_insert", "Connections that were entered into the table."),
    row!("stat_insert_failed", "Connections that could not be entered, because another was there."),
    row!("stat_drop", "Packets that were dropped because tracking them failed."),
    row!("stat_early_drop", "Connections that were dropped to make room for new ones."),
    row!("stat_search_restart", "Look-ups that began again because the table was resized."),
];
