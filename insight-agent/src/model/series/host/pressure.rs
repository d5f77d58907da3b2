//! How long threads waited for a resource.

use super::super::{Kind, Series};
use super::single;

/// Some waited for a CPU.
pub const CPU_WAITING: Series = single(
    "node_pressure_cpu_waiting_seconds_total",
    "Time in which some thread waited for a CPU, in seconds.",
    Kind::Counter,
);

/// Some waited for I/O.
pub const IO_WAITING: Series = single(
    "node_pressure_io_waiting_seconds_total",
    "Time in which some thread waited for I/O, in seconds.",
    Kind::Counter,
);

/// All waited for I/O.
pub const IO_STALLED: Series = single(
    "node_pressure_io_stalled_seconds_total",
    "Time in which every thread that had work waited for I/O, in seconds.",
    Kind::Counter,
);

/// Some waited for memory.
pub const MEMORY_WAITING: Series = single(
    "node_pressure_memory_waiting_seconds_total",
    "Time in which some thread waited for memory, in seconds.",
    Kind::Counter,
);

/// All waited for memory.
pub const MEMORY_STALLED: Series = single(
    "node_pressure_memory_stalled_seconds_total",
    "Time in which every thread that had work waited for memory, in seconds.",
    Kind::Counter,
);

/// This file's families.
pub const SERIES: &[Series] = &[CPU_WAITING, IO_WAITING, IO_STALLED, MEMORY_WAITING, MEMORY_STALLED];
