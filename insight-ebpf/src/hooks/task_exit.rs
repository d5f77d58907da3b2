//! `sched_process_exit`: a thread ends.

use crate::{globals, residence, runqueue_wait};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::measurement::Measurement;

#[btf_tracepoint(function = "sched_process_exit")]
fn task_exit(_ctx: BtfTracePointContext) -> i32 {
    // The exiting thread is the current one. Not only a forwarder's: a process can have been taken
    // off the list since.
    let thread = bpf_get_current_pid_tgid() as u32;
    if globals::is_on(Measurement::Residence) {
        residence::on_exit(thread);
    }
    if globals::is_on(Measurement::RunqueueWait) {
        runqueue_wait::on_exit(thread);
    }
    0
}
