//! `sched_switch`: a thread leaves a CPU. The state is read from the task: the argument has moved
//! between kernels.

use crate::globals;
use crate::memory::{Object, member};
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
    let state = member::<u32>(leaving, globals::OFF_TASK_STATE.load());
    let thread = member::<u32>(leaving, globals::OFF_TASK_PID.load());
    if let (Some(state), Some(thread)) = (state, thread) {
        residence::on_leave(thread, state);
    }
    0
}
