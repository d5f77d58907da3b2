//! What the host says of itself and of its forwarders, at one instant.
//!
//! Counters are cumulative, as the kernel shows them; everything that a host, a kernel or a
//! missing privilege can withhold is an `Option`.

mod busy;
mod cpu;
mod forwarder;

pub use busy::{busy_share, busy_time};
pub use cpu::{CpuSet, CpuTimes, MAX_CPUS, TICKS_PER_SECOND};
pub use forwarder::{
    CgroupCpu, ForwarderSnapshot, ForwarderTotals, MAX_FORWARDERS, MAX_PROCESSES, MAX_THREADS, Selector,
    ThreadSnapshot, ThreadState,
};

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A snapshot counts until it is this many reading periods old: one that comes late leaves no gap,
/// and a dead reader is noticed soon.
const FRESH_PERIODS: u32 = 3;

/// Everything that one reading of the host gave.
#[derive(Debug, Clone, PartialEq)]
pub struct HostSnapshot {
    /// When it was read.
    pub taken: Instant,
    /// How often the host is read: what the snapshot's age is judged by.
    pub period: Duration,
    /// Online CPUs by number. **None**: `/proc/stat` is absent or unreadable.
    pub cpus: Option<BTreeMap<u32, CpuTimes>>,
    /// What `node_*` shows. **None**: switched off.
    pub node: Option<NodeSnapshot>,
    /// One for each selector, in the configured order; also one that no process matches.
    pub forwarders: Vec<ForwarderSnapshot>,
    /// Files that were there and made no sense, since the reader's start.
    pub unparsed: u64,
    /// Processes and threads beyond the bounds, added up over all readings since the start.
    pub capped: u64,
}

impl HostSnapshot {
    /// Whether it is young enough to be shown.
    pub fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.taken) <= self.period * FRESH_PERIODS
    }
}

/// Figures by the name that node_exporter gives them behind its collector's prefix, such as
/// `MemTotal_bytes`; a set that depends on the kernel.
pub type Figures = BTreeMap<String, f64>;

/// The host apart from its forwarders.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeSnapshot {
    /// What `/proc/stat` has besides the CPUs.
    pub system: Option<SystemTotals>,
    /// Load averages.
    pub load: Option<Load>,
    /// Pressure stall totals.
    pub pressure: Pressure,
    /// `/proc/meminfo`. **Unit**: bytes, or pages where the kernel counts them.
    pub memory: Option<Figures>,
    /// Network devices by name.
    pub devices: Option<BTreeMap<String, DeviceTotals>>,
    /// Packet processing by CPU number.
    pub softnet: Option<BTreeMap<u32, SoftnetTotals>>,
    /// `/proc/net/netstat`, `snmp` and `snmp6`, those that are there.
    pub netstat: Option<Figures>,
    /// `/proc/net/sockstat` and `sockstat6`, those that are there.
    pub sockstat: Option<Figures>,
    /// Connection tracking. **None**: the module is not loaded.
    pub conntrack: Option<Figures>,
    /// Which system runs.
    pub uname: Option<Uname>,
}

/// Totals of `/proc/stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SystemTotals {
    /// Interrupts serviced.
    pub interrupts: u64,
    /// Context switches.
    pub context_switches: u64,
    /// Processes and threads made.
    pub forks: u64,
    /// When the host was booted, in seconds since the Unix epoch.
    pub boot_time: u64,
    /// Threads that run or could run.
    pub running: u64,
    /// Threads that wait for I/O to complete.
    pub blocked: u64,
}

/// Load averages: runnable and uninterruptible threads over 1, 5 and 15 minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Over one minute.
    pub one: f64,
    /// Over five minutes.
    pub five: f64,
    /// Over fifteen minutes.
    pub fifteen: f64,
}

/// Stall totals since boot. **None**: the kernel has no PSI, or it is switched off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Some thread waited for a CPU.
    pub cpu_some: Option<Duration>,
    /// Some thread waited for I/O.
    pub io_some: Option<Duration>,
    /// Every thread that had work waited for I/O.
    pub io_full: Option<Duration>,
    /// Some thread waited for memory.
    pub memory_some: Option<Duration>,
    /// Every thread that had work waited for memory.
    pub memory_full: Option<Duration>,
}

/// A network device's counters, as `/proc/net/dev` sums them up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceTotals {
    /// Bytes, packets, errs, drop, fifo, frame, compressed, multicast: received.
    pub receive: [u64; 8],
    /// Bytes, packets, errs, drop, fifo, colls, carrier, compressed: sent.
    pub transmit: [u64; 8],
    /// Received by an inactive device of a bond. **None**: `/sys` does not show the device.
    pub receive_nohandler: Option<u64>,
}

/// One CPU's packet processing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SoftnetTotals {
    /// Packets processed.
    pub processed: u64,
    /// Packets dropped because the backlog was full.
    pub dropped: u64,
    /// Times that processing stopped with work left.
    pub times_squeezed: u64,
}

/// Which system runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uname {
    /// The kernel's name.
    pub sysname: String,
    /// Its release.
    pub release: String,
    /// Its build.
    pub version: String,
    /// The hardware's name.
    pub machine: String,
    /// The host's name.
    pub nodename: String,
    /// The NIS domain's name.
    pub domainname: String,
}
