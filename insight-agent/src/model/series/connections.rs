//! Series of a probe's connections, where one label more tells them apart: slots and certificates. And of the
//! TLS files that they use.

use super::path::{SOURCE, TARGET};
use super::probe::PROBE;
use super::{Kind, Label, Series, closed};
use crate::model::certificate::Certificates;

/// What the slot numbers are, from 0 to [`crate::model::plan::SLOTS_MOST`] less one.
pub const SLOTS: [&str; crate::model::plan::SLOTS_MOST] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"];
const SLOT: Label = closed("slot", &SLOTS);

/// Latency of each of several reused connections.
pub const SLOT_DURATION: Series = Series {
    name: "insight_probe_slot_seconds",
    help: "Latency of successful samples on each of a probe's reused connections, in seconds: sum and count, for means. Absent for probes with reused_connections = 1.",
    kind: Kind::Summary,
    labels: &[SOURCE, TARGET, PROBE, SLOT],
    bound: "sum over probes with several reused connections of reused_connections (16)",
};

/// Failures on each of them.
pub const SLOT_FAILURES: Series = Series {
    name: "insight_probe_slot_failures_total",
    help: "Failed samples on each of a probe's reused connections, of any class: insight_probe_failures_total has the classes. Absent for probes with reused_connections = 1.",
    kind: Kind::Counter,
    labels: &[SOURCE, TARGET, PROBE, SLOT],
    bound: "sum over probes with several reused connections of reused_connections (16)",
};

/// How often each of them was opened.
pub const SLOT_CONNECTIONS: Series = Series {
    name: "insight_probe_slot_connections_total",
    help: "Connections that were opened for each of a probe's reused connections; every one after the first is a reconnect, which a balancer may lead to another backend. Absent for probes with reused_connections = 1.",
    kind: Kind::Counter,
    labels: &[SOURCE, TARGET, PROBE, SLOT],
    bound: "sum over probes with several reused connections of reused_connections (16)",
};

/// When certificates end.
pub const CERTIFICATE_EXPIRY: Series = Series {
    name: "insight_probe_tls_certificate_expiry_timestamp_seconds",
    help: "When the first certificate of a kind ends, in seconds since 1970: client is this agent's own chain as loaded, ca the authorities of ca_file, server the chain that the next hop showed in the last handshake. With more than 500 probes the earliest of each path, without probe.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, PROBE, closed("certificate", &Certificates::NAMES)],
    bound: "probes with TLS (500), or paths, x certificates (3)",
};

/// Names of what became of files.
pub const LOADS: [&str; 2] = ["loaded", "failed"];

/// What became of TLS files that were found to be other ones.
pub const TLS_FILE_LOADS: Series = Series {
    name: "insight_tls_file_loads_total",
    help: "Times that TLS files of probes or nodes were other ones than before and were loaded, or could not be used (half of a pair, no right to read): then those before stay in use, and tls_files of the status page says why.",
    kind: Kind::Counter,
    labels: &[closed("result", &LOADS)],
    bound: "2",
};

/// Sets of files that cannot be used.
pub const TLS_FILES_STALE: Series = Series {
    name: "insight_tls_files_stale",
    help: "Sets of TLS files whose present content cannot be used, so that what was loaded before is.",
    kind: Kind::Gauge,
    labels: &[],
    bound: "1",
};

/// This file's families.
pub const SERIES: &[Series] =
    &[SLOT_DURATION, SLOT_FAILURES, SLOT_CONNECTIONS, CERTIFICATE_EXPIRY, TLS_FILE_LOADS, TLS_FILES_STALE];
