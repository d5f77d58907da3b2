//! `sched_process_exec`: the current process becomes another program.

use crate::threads;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

#[btf_tracepoint(function = "sched_process_exec")]
fn task_exec(_ctx: BtfTracePointContext) -> i32 {
    threads::on_exec();
    0
}
