//! Read on one side to written on the other: see `insight-ebpf/src/residence.rs`.

use super::hooks;
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::Residence,
    hooks: &[
        hooks::DATA_READY,
        hooks::DATA_READ,
        hooks::SEND,
        hooks::TASK_START,
        hooks::TASK_SWITCH,
        hooks::TASK_EXEC,
        hooks::TASK_EXIT,
    ],
    offsets: &[hooks::TCP[0], hooks::TCP[1], hooks::TASK[0], hooks::TASK[1], hooks::TASK[2]],
    needs_forwarder: true,
};
