//! Which processes forward: the loader keeps the list, the measurements ask for a thread.

use crate::globals;
use crate::memory::{Object, trusted};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;

/// Processes that forward.
#[map]
static FORWARDERS: HashMap<u32, u8> = HashMap::with_max_entries(64, 0);

/// The current thread, if its process forwards. Means something only in a hook that runs for the
/// thread that called: in an interrupt the current thread is any one.
#[inline(always)]
pub fn current_thread() -> Option<u32> {
    let both = bpf_get_current_pid_tgid();
    FORWARDERS.get_ptr((both >> 32) as u32).map(|_| both as u32)
}

/// The thread that a task is, if its process forwards. For the scheduler's hooks, which run for
/// every task of the host: a foreign one costs one read and one look-up, an idle CPU's the read.
#[inline(always)]
pub fn thread_of(task: Object) -> Option<u32> {
    let process: u32 = trusted(task, globals::OFF_TASK_TGID.load());
    if process == 0 {
        return None;
    }
    FORWARDERS.get_ptr(process).map(|_| trusted(task, globals::OFF_TASK_PID.load()))
}
