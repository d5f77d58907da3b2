//! `sched_switch`: a thread leaves a CPU, and another one gets it. The state is read from the task: the
//! argument has moved between kernels.
//!
//! It runs for every task of the host, so whose task it is is asked first.

use super::now;
use crate::memory::{Object, trusted};
use crate::{globals, residence, runqueue_wait, threads};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::measurement::Measurement;

#[btf_tracepoint(function = "sched_switch")]
fn task_switch(ctx: BtfTracePointContext) -> i32 {
    let preempted: u32 = ctx.arg(0);
    leave(ctx.arg(1), preempted & 1 != 0);
    if let Some(thread) = threads::arriving(ctx.arg(2))
        && globals::is_on(Measurement::RunqueueWait)
    {
        runqueue_wait::on_arrive(thread, now());
    }
    0
}

#[inline(always)]
fn leave(task: Object, preempted: bool) {
    let Some((thread, work)) = threads::leaving(task) else { return };
    let state: u32 = trusted(task, globals::OFF_TASK_STATE.load());
    // A thread that is preempted stays in its turn, whatever state it was about to enter.
    if !preempted {
        residence::on_leave(work, state);
    }
    thread.work = *work;
    if preempted || state == 0 {
        runqueue_wait::on_runnable(thread, now());
    } else {
        runqueue_wait::on_sleep(thread);
    }
}
