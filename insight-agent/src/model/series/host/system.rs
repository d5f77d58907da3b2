//! The host as a whole: load, totals since boot, its clock and its name.

use super::super::{Kind, Label, Series, Values};
use super::single;

const fn uname(name: &'static str, what: &'static str) -> Label {
    Label { name, values: Values::Constant(what) }
}

/// Load over a minute.
pub const LOAD1: Series =
    single("node_load1", "Runnable and uninterruptible threads, averaged over 1 minute.", Kind::Gauge);

/// Load over five minutes.
pub const LOAD5: Series =
    single("node_load5", "Runnable and uninterruptible threads, averaged over 5 minutes.", Kind::Gauge);

/// Load over fifteen minutes.
pub const LOAD15: Series =
    single("node_load15", "Runnable and uninterruptible threads, averaged over 15 minutes.", Kind::Gauge);

/// Interrupts.
pub const INTERRUPTS: Series = single("node_intr_total", "Interrupts serviced since boot.", Kind::Counter);

/// Context switches.
pub const CONTEXT_SWITCHES: Series =
    single("node_context_switches_total", "Context switches since boot.", Kind::Counter);

/// Forks.
pub const FORKS: Series = single("node_forks_total", "Processes and threads made since boot.", Kind::Counter);

/// Boot time.
pub const BOOT_TIME: Series = single(
    "node_boot_time_seconds",
    "When the host was booted, in seconds since the Unix epoch.",
    Kind::Gauge,
);

/// Runnable threads.
pub const RUNNING: Series = single("node_procs_running", "Threads that run or could run.", Kind::Gauge);

/// Blocked threads.
pub const BLOCKED: Series =
    single("node_procs_blocked", "Threads that wait for I/O to complete.", Kind::Gauge);

/// The host's clock at the scrape.
pub const TIME: Series =
    single("node_time_seconds", "The host's clock, in seconds since the Unix epoch.", Kind::Gauge);

/// Which system runs.
pub const UNAME: Series = Series {
    name: "node_uname_info",
    help: "Always 1; the labels name the running system.",
    kind: Kind::Gauge,
    labels: &[
        uname("sysname", "the kernel's name"),
        uname("release", "the kernel's release"),
        uname("version", "the kernel's build"),
        uname("machine", "the hardware's name"),
        uname("nodename", "the host's name"),
        uname("domainname", "the NIS domain's name"),
    ],
    bound: "1",
};

/// This file's families.
pub const SERIES: &[Series] =
    &[LOAD1, LOAD5, LOAD15, INTERRUPTS, CONTEXT_SWITCHES, FORKS, BOOT_TIME, RUNNING, BLOCKED, TIME, UNAME];
