//! The table of sockets that the other kernel measurements rest on, and what the programs themselves take.

use super::kernel::ROLE;
use super::{Kind, Label, Series, closed, configured};

/// Connections that are older than the programs.
pub const SEEDED: Series = Series {
    name: "insight_sockets_seeded_total",
    help: "TCP connections that were open before the kernel measurements began, and are measured since.",
    kind: Kind::Counter,
    labels: &[ROLE],
    bound: "roles (2)",
};

/// Hosts of peer groups.
pub const PEER_LOOKUP_FAILURES: Series = Series {
    name: "insight_peer_lookup_failures_total",
    help: "Look-ups of hosts of [[kernel.peer]] that failed; what they had before still counts.",
    kind: Kind::Counter,
    labels: &[],
    bound: "1",
};

/// A table of the programs.
const TABLE: Label = closed("table", &["sockets", "sampled"]);

/// A program of the kernel half.
const PROGRAM: Label = configured("program", "the programs of the active measurements: see docs/kernels.md");

/// What the programs keep.
pub const ENTRIES: Series = Series {
    name: "insight_bpf_table_entries",
    help: "Entries of the kernel half, counted by walking them: sockets, those in scope that are not closed, listeners and connections that open or close included; sampled, open connections that are measured in full, 0 where all are. Absent where the kernel walks no such table.",
    kind: Kind::Gauge,
    labels: &[TABLE],
    bound: "tables (2)",
};

/// How often each program ran.
pub const PROGRAM_RUNS: Series = Series {
    name: "insight_bpf_program_runs_total",
    help: "Runs of each program of the kernel half, while the kernel counts them (kernel.bpf_stats_enabled).",
    kind: Kind::Counter,
    labels: &[PROGRAM],
    bound: "programs (about 25)",
};

/// How long each program ran.
pub const PROGRAM_SECONDS: Series = Series {
    name: "insight_bpf_program_run_seconds_total",
    help: "Time in each program of the kernel half, while the kernel counts it (kernel.bpf_stats_enabled), in seconds.",
    kind: Kind::Counter,
    labels: &[PROGRAM],
    bound: "programs (about 25)",
};

/// Runs that were left out.
pub const PROGRAM_MISSES: Series = Series {
    name: "insight_bpf_program_recursion_misses_total",
    help: "Runs of each program that the kernel left out, since the program was already running on that CPU.",
    kind: Kind::Counter,
    labels: &[PROGRAM],
    bound: "programs (about 25)",
};

/// This file's families.
pub const SERIES: &[Series] =
    &[SEEDED, PEER_LOOKUP_FAILURES, ENTRIES, PROGRAM_RUNS, PROGRAM_SECONDS, PROGRAM_MISSES];
