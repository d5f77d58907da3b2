//! `sched_process_exit`: a thread ends.

use crate::residence;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

#[btf_tracepoint(function = "sched_process_exit")]
fn task_exit(_ctx: BtfTracePointContext) -> i32 {
    // The exiting thread is the current one.
    residence::on_exit(bpf_get_current_pid_tgid() as u32);
    0
}
