//! What a CPU has spent its time on, and sets of CPUs.

use std::collections::BTreeSet;

/// The unit of the kernel's CPU times for user space (USER_HZ), on every architecture that the
/// agent is built for, whatever the kernel's own tick.
pub const TICKS_PER_SECOND: u64 = 100;

/// CPU numbers from here on are not believed: eight times what the largest distributor's kernels
/// are built for, so that a mangled list cannot grow a set without end.
pub const MAX_CPUS: u32 = 65_536;

/// Numbers of CPUs.
pub type CpuSet = BTreeSet<u32>;

/// One CPU's time since boot, by mode. **Unit**: ticks ([`TICKS_PER_SECOND`]).
///
/// **Source**: `/proc/stat`. Guest time is contained in `user`, guest_nice time in `nice`; both
/// are shown apart as well, as node_exporter does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Programs, guests among them.
    pub user: u64,
    /// Programs of low priority, guests among them.
    pub nice: u64,
    /// The kernel for programs.
    pub system: u64,
    /// Nothing.
    pub idle: u64,
    /// Nothing, while something waited for I/O.
    pub iowait: u64,
    /// Interrupts.
    pub irq: u64,
    /// What interrupts left to do later.
    pub softirq: u64,
    /// Another guest of the same hypervisor.
    pub steal: u64,
    /// Guests of this host.
    pub guest: u64,
    /// Guests of low priority.
    pub guest_nice: u64,
}

impl CpuTimes {
    /// The modes' names in `node_cpu_seconds_total`, in the order of [`Self::modes`].
    pub const MODES: [&'static str; 8] =
        ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

    /// The times that add up to the whole, in the order of [`Self::MODES`].
    pub const fn modes(&self) -> [u64; 8] {
        [self.user, self.nice, self.system, self.idle, self.iowait, self.irq, self.softirq, self.steal]
    }

    /// From the ten figures of a line of `/proc/stat`, in its order.
    pub const fn from_ticks(ticks: [u64; 10]) -> Self {
        let [user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice] = ticks;
        Self { user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice }
    }

    /// The ten figures, in the order of `/proc/stat`.
    pub const fn ticks(&self) -> [u64; 10] {
        let [user, nice, system, idle, iowait, irq, softirq, steal] = self.modes();
        [user, nice, system, idle, iowait, irq, softirq, steal, self.guest, self.guest_nice]
    }
}
