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
use aya_ebpf::maps::{HashMap, PerCpuArray};
use insight_common::kernel::layout::NOBODY;
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::thread::{Running, Thread, Work, forked, forwarder_of, is_forked};

/// Processes that forward, with the number of the forwarder: see [`is_forked`]. The loader enters fewer: the
/// rest is for what they fork between two looks.
#[map]
static FORWARDERS: HashMap<u32, u8> = HashMap::with_max_entries(256, 0);

/// Their threads.
#[map]
static THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(8_192, 0);

/// Which of them a CPU runs.
#[map]
static RUNNING: PerCpuArray<Running> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn entry(thread: u32) -> Option<&'static mut Thread> {
    // SAFETY: entries are preallocated and never move; of one thread one hook runs at a time.
    THREADS.get_ptr_mut(thread).map(|entry| unsafe { &mut *entry })
}

#[inline(always)]
fn here() -> Option<&'static mut Running> {
    // SAFETY: an array's entries never move. Only this CPU uses its own, in the thread's own time and
    // where the scheduler, which nothing interrupts, takes it away.
    RUNNING.get_ptr_mut(0).map(|running| unsafe { &mut *running })
}

/// The current thread and what it is at, if its process forwards. Means something only in a hook that runs for
/// the thread that called, in an interrupt the current thread is any one; and only where the switches of
/// threads are followed.
#[inline(always)]
pub fn current() -> Option<&'static mut Running> {
    if !are_followed() {
        return None;
    }
    here().filter(|running| running.thread != 0)
}

/// A task leaves this CPU. Gives its thread if it forwards, and what it is at, to be changed.
#[inline(always)]
pub fn leaving(task: Object) -> Option<(&'static mut Thread, &'static mut Work)> {
    let running = here()?;
    let thread = core::mem::replace(&mut running.thread, 0);
    // All others, without a look-up. Unlike, where it was listed since it came.
    if thread == 0 || thread != trusted(task, globals::OFF_TASK_PID.load()) {
        return None;
    }
    Some((entry(thread)?, &mut running.work))
}

/// A task gets this CPU. Gives its thread if it forwards.
#[inline(always)]
pub fn arriving(task: Object) -> Option<&'static mut Thread> {
    let thread = of(task)?;
    if let Some(running) = here() {
        running.work = thread.work;
        running.forwarder = thread.forwarder;
        running.thread = trusted(task, globals::OFF_TASK_PID.load());
    }
    Some(thread)
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

/// How a process is listed. **None**: it does not forward.
#[inline(always)]
fn how_listed(process: u32) -> Option<u8> {
    // SAFETY: entries are preallocated and never move, and hold one byte.
    FORWARDERS.get_ptr(process).map(|how| unsafe { *how })
}

/// The forwarder that the current thread's process is of, or [`NOBODY`].
#[inline(always)]
pub fn forwarder_here() -> u8 {
    how_listed((bpf_get_current_pid_tgid() >> 32) as u32).map_or(NOBODY, forwarder_of)
}

/// The same, of whom [`current`] gives, where forwarders are configured.
#[inline(always)]
pub fn forwarder_with(running: Option<&Running>) -> u8 {
    match running {
        _ if globals::FORWARDERS_ONLY.load() == 0 => NOBODY,
        Some(running) => running.forwarder as u8,
        None => forwarder_here(),
    }
}

/// As [`forwarder_with`], for less: where threads are followed, one that nobody saw come to its CPU is nobody's yet.
#[inline(always)]
pub fn followed_forwarder_of(running: Option<&Running>) -> u8 {
    if running.is_none() && are_followed() { NOBODY } else { forwarder_with(running) }
}

/// Whether [`current`] can know a thread. A constant to the verifier.
#[inline(always)]
fn are_followed() -> bool {
    globals::is_on(Measurement::Residence) || globals::is_on(Measurement::RunqueueWait)
}

/// A new task is runnable, which the current thread made.
#[inline(always)]
pub fn on_start(task: Object) {
    let Some(how) = how_listed((bpf_get_current_pid_tgid() >> 32) as u32) else { return };
    let process: u32 = trusted(task, globals::OFF_TASK_TGID.load());
    let thread: u32 = trusted(task, globals::OFF_TASK_PID.load());
    // A thread of a process that has its entry, or a process that was forked.
    let entered = how_listed(process).is_some() || FORWARDERS.insert(process, forked(how), 0).is_ok();
    if !entered || THREADS.insert(thread, Thread::of(forwarder_of(how), process, thread), 0).is_err() {
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
    if how_listed(process).is_some_and(is_forked) {
        // An error says that the loader has taken them off just now.
        let _ = FORWARDERS.remove(process);
        let _ = THREADS.remove(both as u32);
        if let Some(running) = here() {
            running.thread = 0;
        }
    }
}

/// The current thread ends. Not only a forwarder's: a process can have been taken off the list since.
#[inline(always)]
pub fn on_exit() {
    // An error says that it had no entry.
    let _ = THREADS.remove(bpf_get_current_pid_tgid() as u32);
}
