//! The threads of forwarders, and what the measurements keep of each.
//!
//! - **Enters** when its process begins to count as a forwarder, by the loader, which lists the threads
//!   that there are; later ones when they first become runnable (`sched_wakeup_new`), in the thread that
//!   made them. A process that a forwarder forks, as for a new worker, counts as one at once, until it
//!   becomes another program (`sched_process_exec`) or the loader, which looks now and then, knows better.
//! - **Leaves** when it ends (`sched_process_exit`), or its process no longer counts.
//! - **Lost**: `map_full`, for the measurements that are on.
//! - **Memory**: 8,192 threads of 4 + 48 bytes: about 0.9 MB.

use crate::globals;
use crate::memory::{Object, trusted};
use crate::record::lose;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::thread::{FORKED, Thread};

/// Processes that forward: `LISTED` or [`FORKED`]. The loader enters fewer: the rest is for what they
/// fork between two looks.
#[map]
static FORWARDERS: HashMap<u32, u8> = HashMap::with_max_entries(256, 0);

/// Their threads.
#[map]
static THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(8_192, 0);

#[inline(always)]
fn entry(thread: u32) -> Option<&'static mut Thread> {
    // SAFETY: entries are preallocated and never move; of one thread one hook runs at a time.
    THREADS.get_ptr_mut(thread).map(|entry| unsafe { &mut *entry })
}

/// The current thread, if its process forwards. Means something only in a hook that runs for the
/// thread that called: in an interrupt the current thread is any one.
#[inline(always)]
pub fn current() -> Option<&'static mut Thread> {
    entry(bpf_get_current_pid_tgid() as u32)
}

/// The thread that a task is, if its process forwards. For the scheduler's hooks, which run for
/// every task of the host: a foreign one costs one read and one look-up, an idle CPU's the read.
#[inline(always)]
pub fn of(task: Object) -> Option<&'static mut Thread> {
    match trusted(task, globals::OFF_TASK_PID.load()) {
        0 => None,
        thread => entry(thread),
    }
}

/// Whether the current thread's process forwards.
#[inline(always)]
pub fn is_forwarding() -> bool {
    FORWARDERS.get_ptr((bpf_get_current_pid_tgid() >> 32) as u32).is_some()
}

/// A new task is runnable, which the current thread made.
#[inline(always)]
pub fn on_start(task: Object) {
    if !is_forwarding() {
        return;
    }
    let process: u32 = trusted(task, globals::OFF_TASK_TGID.load());
    let thread: u32 = trusted(task, globals::OFF_TASK_PID.load());
    // A thread of a process that has its entry, or a process that was forked.
    let entered = FORWARDERS.get_ptr(process).is_some() || FORWARDERS.insert(process, FORKED, 0).is_ok();
    if !entered || THREADS.insert(thread, Thread::of(process, thread), 0).is_err() {
        for measurement in [Measurement::Residence, Measurement::RunqueueWait] {
            if globals::is_on(measurement) {
                lose(measurement, Loss::MapFull);
            }
        }
    }
}

/// The current process becomes another program: what it was forked from says no more what it is.
#[inline(always)]
pub fn on_exec() {
    let both = bpf_get_current_pid_tgid();
    let process = (both >> 32) as u32;
    // SAFETY: entries are preallocated and never move, and hold one byte.
    if FORWARDERS.get_ptr(process).is_some_and(|how| unsafe { *how } == FORKED) {
        // An error says that the loader has taken them off just now.
        let _ = FORWARDERS.remove(process);
        let _ = THREADS.remove(both as u32);
    }
}

/// The current thread ends. Not only a forwarder's: a process can have been taken off the list since.
#[inline(always)]
pub fn on_exit() {
    // An error says that it had no entry.
    let _ = THREADS.remove(bpf_get_current_pid_tgid() as u32);
}
