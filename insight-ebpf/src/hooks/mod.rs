//! One program per hook of the kernel. Each fetches its arguments, asks for the socket's entry,
//! reads the clock once, and calls the measurements.

mod data_read;
mod data_ready;
mod entry_walk;
mod send;
mod socket_destroy;
mod socket_state;
mod socket_walk;
mod task_exec;
mod task_exit;
mod task_start;
mod task_switch;
mod tcp_event;

use aya_ebpf::helpers::bpf_ktime_get_ns;

/// The kernel's monotonic clock.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no conditions.
    unsafe { bpf_ktime_get_ns() }
}
