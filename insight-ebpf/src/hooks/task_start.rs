//! `sched_wakeup_new`: a new thread can run.

use super::now;
use crate::memory::Object;
use crate::{runqueue_wait, threads};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

#[btf_tracepoint(function = "sched_wakeup_new")]
fn task_start(ctx: BtfTracePointContext) -> i32 {
    let task: Object = ctx.arg(0);
    threads::on_start(task);
    if let Some(thread) = threads::of(task) {
        runqueue_wait::on_runnable(thread, now());
    }
    0
}
