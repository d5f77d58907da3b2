//! How long a forwarder's threads wait for a CPU.
//!
//! - **Measures** runnable → running: from its wake-up, its start or its preemption to the switch that
//!   gives it a CPU. A quota of its cgroup (throttling) is in it, for such a thread waits as well.
//! - **Hooks**: `sched_wakeup`, `sched_wakeup_new`, `sched_switch`, older than BTF:
//!   <https://github.com/torvalds/linux/blob/v6.12/kernel/sched/core.c#L6696>. The switch is shared with `residence`
//!   (see `hooks/task_switch.rs`); `sched_process_exit` frees. One release after 5.18 has other arguments: absent there.
//! - **Filtered**: threads of other processes than the forwarders, by the task that the hook is about, never by the
//!   current one: for each task one read, and one look-up unless it is an idle CPU's.
//! - **Not in it**: sleeping, stopped, or waiting for a disk or a lock.
//! - **Kept** per thread from runnable to running. A wake-up while it still runs leaves a stamp too: the switch
//!   that takes it off the CPU replaces or removes it.
//! - **Lost**: `map_full`; `unstamped`, a thread that was runnable before the programs, or its process, were added.
//! - **Memory**: 8,192 threads of 4 + 8 bytes: about 0.6 MB.

use crate::forwarders;
use crate::memory::Object;
use crate::record::{duration, lose};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::layout::{Distribution, GROUP_WHOLE};
use insight_common::kernel::loss::{Loss, Measurement};

/// Since when each thread of a forwarder that has no CPU could use one.
#[map]
static RUNNABLE: HashMap<u32, u64> = HashMap::with_max_entries(8_192, 0);

#[btf_tracepoint(function = "sched_wakeup")]
fn task_wakeup(ctx: BtfTracePointContext) -> i32 {
    on_wakeup(ctx.arg(0));
    0
}

#[btf_tracepoint(function = "sched_wakeup_new")]
fn task_start(ctx: BtfTracePointContext) -> i32 {
    on_wakeup(ctx.arg(0));
    0
}

#[inline(always)]
fn on_wakeup(task: Object) {
    if let Some(thread) = forwarders::thread_of(task) {
        stamp(thread);
    }
}

/// The thread could use a CPU from now on. An older stamp is of a time when its process was not on
/// the list; or, for a microsecond, of a preemption on its way to sleep, which counts as sleep then.
#[inline(always)]
fn stamp(thread: u32) {
    // SAFETY: the helper has no conditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if RUNNABLE.insert(thread, now, 0).is_err() {
        lose(Measurement::RunqueueWait, Loss::MapFull);
    }
}

/// A forwarder's thread leaves a CPU: is it `runnable` still, or does it sleep?
#[inline(always)]
pub fn on_leave(thread: u32, runnable: bool) {
    if runnable {
        stamp(thread);
    } else {
        on_exit(thread);
    }
}

/// A forwarder's thread gets a CPU.
#[inline(always)]
pub fn on_arrive(thread: u32, now: u64) {
    let Some(since) = RUNNABLE.get_ptr(thread) else {
        lose(Measurement::RunqueueWait, Loss::Unstamped);
        return;
    };
    // SAFETY: entries are preallocated and never move; a thread arrives on one CPU at a time.
    let since = unsafe { *since };
    on_exit(thread);
    // The clocks of two CPUs may differ by less than a wait can be told.
    duration(Distribution::RunqueueWait, GROUP_WHOLE, now.saturating_sub(since));
}

/// A thread ends.
#[inline(always)]
pub fn on_exit(thread: u32) {
    // An error says that it had no stamp.
    let _ = RUNNABLE.remove(thread);
}
