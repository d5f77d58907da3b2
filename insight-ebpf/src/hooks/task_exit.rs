//! `sched_process_exit`: a thread ends, the current one.

use crate::threads;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

#[btf_tracepoint(function = "sched_process_exit")]
fn task_exit(_ctx: BtfTracePointContext) -> i32 {
    threads::on_exit();
    0
}
