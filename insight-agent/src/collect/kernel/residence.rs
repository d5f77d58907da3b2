//! Read on one side to written on the other: see `insight-ebpf/src/residence.rs`.

use super::hooks;
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::Residence,
    hooks: &[hooks::RECEIVE, hooks::SEND, hooks::TASK_SWITCH, hooks::TASK_EXIT],
    offsets: &hooks::TASK,
    needs_forwarder: true,
};
