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
//! - **Kept** with the thread from runnable to running. A wake-up while it still runs leaves a stamp too: the switch
//!   that takes it off the CPU replaces or removes it.
//! - **Lost**: `map_full`, see `threads`; `unstamped`, a thread that was runnable before the programs, or its
//!   process, were added.

use crate::hooks::now;
use crate::record::{duration_of_one_program, lose};
use crate::{globals, threads};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::layout::Distribution;
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::thread::Thread;

#[btf_tracepoint(function = "sched_wakeup")]
fn task_wakeup(ctx: BtfTracePointContext) -> i32 {
    if let Some(thread) = threads::of(ctx.arg(0)) {
        on_runnable(thread, now());
    }
    0
}

/// The thread could use a CPU from now on. An older stamp is, for a microsecond, of a preemption on its
/// way to sleep, which counts as sleep then.
#[inline(always)]
pub fn on_runnable(thread: &mut Thread, now: u64) {
    if globals::is_on(Measurement::RunqueueWait) {
        thread.runnable_ns = now;
    }
}

/// The thread leaves its CPU and sleeps.
#[inline(always)]
pub fn on_sleep(thread: &mut Thread) {
    if globals::is_on(Measurement::RunqueueWait) {
        thread.runnable_ns = 0;
    }
}

/// A forwarder's thread gets a CPU.
#[inline(always)]
pub fn on_arrive(thread: &mut Thread, now: u64) {
    let since = thread.runnable_ns;
    if since == 0 {
        lose(Measurement::RunqueueWait, Loss::Unstamped);
        return;
    }
    thread.runnable_ns = 0;
    // The clocks of two CPUs may differ by less than a wait can be told.
    let group = thread.forwarder as u8;
    duration_of_one_program(Distribution::RunqueueWait, group, now.saturating_sub(since));
}
