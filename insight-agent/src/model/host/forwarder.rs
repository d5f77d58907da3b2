//! The forwarders of a host: how they are found, and what they cost.

use super::CpuSet;
use std::path::PathBuf;
use std::time::Duration;

/// Forwarders told apart on one host; the bound of the `forwarder` label.
pub const MAX_FORWARDERS: usize = 8;

/// Processes that one forwarder may have: one worker per CPU on most machines, and the master.
pub const MAX_PROCESSES: usize = 64;

/// Threads that are read of one forwarder: three small files each, measured at 62 µs a thread (debug
/// build, busy machine), so that one reading stays below 70 ms.
pub const MAX_THREADS: usize = 1024;

/// Which processes are a forwarder: all that is given must hold. One that gives nothing but its
/// name matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// The forwarder's name, the `forwarder` label.
    pub name: String,
    /// The process' name, or its program's file name.
    pub process: Option<String>,
    /// A TCP port that the process listens on, in its own network namespace.
    pub port: Option<u16>,
    /// The systemd unit that it belongs to; without a suffix, a service.
    pub unit: Option<String>,
    /// The control group that it is in, or below: its folder, or as `/proc/PID/cgroup` writes it.
    pub cgroup: Option<PathBuf>,
}

/// One forwarder at one instant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ForwarderSnapshot {
    /// Its selector's name.
    pub name: String,
    /// Its processes' ids, rising.
    pub pids: Vec<u32>,
    /// Its threads, as far as they are read.
    pub threads: Vec<ThreadSnapshot>,
    /// What its processes and threads have counted, those that have ended among them: never falls.
    /// **None**: no process was ever seen.
    pub totals: Option<ForwarderTotals>,
    /// The CPUs that any of its threads may run on. **None**: not known.
    pub allowed_cpus: Option<CpuSet>,
    /// The busy share of exactly those CPUs since the last reading, from 0 to 1. **None**: there
    /// was none.
    pub allowed_busy: Option<f64>,
    /// Throttling of its control groups. **None**: the kernel has no CPU controller there.
    pub cgroup: Option<CgroupCpu>,
}

/// What a forwarder has counted. Only rises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwarderTotals {
    /// Time in its own code.
    pub user: Duration,
    /// Time in the kernel.
    pub system: Duration,
    /// Switches because a thread had nothing to do.
    pub voluntary_switches: u64,
    /// Switches because another thread was due.
    pub involuntary_switches: u64,
    /// Time that its threads could have run and had no CPU. **None**: the kernel does not tell.
    pub run_delay: Option<Duration>,
}

/// One thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadSnapshot {
    /// Its process.
    pub pid: u32,
    /// Its own id.
    pub tid: u32,
    /// When it began, in ticks since boot: tells an id that is used again apart.
    pub started: u64,
    /// Its name.
    pub name: String,
    /// What it does.
    pub state: ThreadState,
    /// Time in its own code.
    pub user: Duration,
    /// Time in the kernel.
    pub system: Duration,
    /// Time that it could have run and had no CPU. **None**: the kernel does not tell.
    pub run_delay: Option<Duration>,
    /// Switches because it had nothing to do. **None**: its status could not be read.
    pub voluntary_switches: Option<u64>,
    /// Switches because another thread was due. **None**: its status could not be read.
    pub involuntary_switches: Option<u64>,
    /// The CPUs that it may run on. **None**: its status could not be read.
    pub allowed_cpus: Option<CpuSet>,
}

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThreadState {
    /// It runs or could run.
    Running,
    /// It waits for something.
    Sleeping,
    /// It waits for something and cannot be woken otherwise.
    Uninterruptible,
    /// It was stopped by a signal or a debugger.
    Stopped,
    /// It has ended, or does something that none of these is.
    Other,
}

impl ThreadState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Running, Self::Sleeping, Self::Uninterruptible, Self::Stopped, Self::Other];

    /// The names, in the order of [`Self::ALL`].
    pub const NAMES: [&'static str; 5] = ["running", "sleeping", "uninterruptible", "stopped", "other"];

    /// The `state` label's value.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// From the letter in `/proc/PID/stat`. Idle kernel threads are no forwarder's.
    pub const fn from_letter(letter: char) -> Self {
        match letter {
            'R' => Self::Running,
            'S' => Self::Sleeping,
            'D' => Self::Uninterruptible,
            'T' | 't' => Self::Stopped,
            _ => Self::Other,
        }
    }
}

/// CPU bandwidth control of a forwarder's control groups, added up over distinct ones.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CgroupCpu {
    /// Enforcement periods that have passed. Only rises.
    pub periods: u64,
    /// Periods in which the group used its quota up. Only rises.
    pub throttled_periods: u64,
    /// Time that its threads were held back, added up over CPUs. Only rises.
    pub throttled: Duration,
    /// What it may use, in CPUs. **None**: no limit, at least for one of several groups.
    pub quota_cores: Option<f64>,
    /// The enforcement period. **None**: no limit, or several groups that differ.
    pub period: Option<Duration>,
}
