//! `sched_switch`: a thread leaves a CPU. The state is read from the task: the argument has moved
//! between kernels.

use crate::globals;
use crate::memory::{Object, trusted};
use crate::residence;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::measurement::Measurement;

#[btf_tracepoint(function = "sched_switch")]
fn task_switch(ctx: BtfTracePointContext) -> i32 {
    let leaving: Object = ctx.arg(1);
    let preempted: u32 = ctx.arg(0);
    if !globals::is_on(Measurement::Residence) || preempted & 1 != 0 {
        return 0;
    }
    let state: u32 = trusted(leaving, globals::OFF_TASK_STATE.load());
    residence::on_leave(trusted(leaving, globals::OFF_TASK_PID.load()), state);
    0
}
