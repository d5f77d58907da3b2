//! Runnable to running: see `insight-ebpf/src/runqueue_wait.rs`.

use super::hooks::{self, Argument::Pointer, Hook};
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::RunqueueWait,
    hooks: &[
        Hook::tracepoint("task_wakeup", "sched_wakeup", &[Pointer]),
        hooks::TASK_START,
        hooks::TASK_SWITCH,
        hooks::TASK_EXEC,
        hooks::TASK_EXIT,
    ],
    offsets: &hooks::TASK,
    needs_forwarder: true,
};
