//! What the forwarders of this host cost.

use super::super::{Kind, Label, Series, closed, configured};
use crate::model::host::ThreadState;

/// A forwarder by its configured name.
pub const FORWARDER: Label = configured("forwarder", "the configured forwarders of this host");

/// Where the time went.
pub const MODES: [&str; 2] = ["user", "system"];

/// Why a thread left its CPU.
pub const SWITCHES: [&str; 2] = ["voluntary", "involuntary"];

/// CPU time.
pub const CPU_SECONDS: Series = Series {
    name: "insight_forwarder_cpu_seconds_total",
    help: "CPU time of a forwarder's processes, ended ones among them, in seconds.",
    kind: Kind::Counter,
    labels: &[FORWARDER, closed("mode", &MODES)],
    bound: "forwarders (8) x modes (2)",
};

/// Context switches.
pub const CONTEXT_SWITCHES: Series = Series {
    name: "insight_forwarder_context_switches_total",
    help: "Context switches of a forwarder's threads, ended ones among them.",
    kind: Kind::Counter,
    labels: &[FORWARDER, closed("kind", &SWITCHES)],
    bound: "forwarders (8) x kinds (2)",
};

/// Runqueue wait.
pub const RUN_DELAY: Series = Series {
    name: "insight_forwarder_run_delay_seconds_total",
    help: "Time that a forwarder's threads could have run and had no CPU, in seconds.",
    kind: Kind::Counter,
    labels: &[FORWARDER],
    bound: "forwarders (8)",
};

/// Threads by state.
pub const THREADS: Series = Series {
    name: "insight_forwarder_threads",
    help: "Threads of a forwarder, by what they do.",
    kind: Kind::Gauge,
    labels: &[FORWARDER, closed("state", &ThreadState::NAMES)],
    bound: "forwarders (8) x states (5)",
};

/// Processes.
pub const PROCESSES: Series = Series {
    name: "insight_forwarder_processes",
    help: "Processes of a forwarder; 0 when none was found.",
    kind: Kind::Gauge,
    labels: &[FORWARDER],
    bound: "forwarders (8)",
};

/// CPUs that it may use.
pub const ALLOWED_CPUS: Series = Series {
    name: "insight_forwarder_allowed_cpus",
    help: "CPUs that any thread of a forwarder may run on.",
    kind: Kind::Gauge,
    labels: &[FORWARDER],
    bound: "forwarders (8)",
};

/// How busy those are.
pub const ALLOWED_CPUS_BUSY: Series = Series {
    name: "insight_forwarder_allowed_cpus_busy_ratio",
    help: "Busy share of exactly the CPUs that a forwarder may run on, between the last two readings.",
    kind: Kind::Gauge,
    labels: &[FORWARDER],
    bound: "forwarders (8)",
};

/// This file's families.
pub const SERIES: &[Series] =
    &[CPU_SECONDS, CONTEXT_SWITCHES, RUN_DELAY, THREADS, PROCESSES, ALLOWED_CPUS, ALLOWED_CPUS_BUSY];
