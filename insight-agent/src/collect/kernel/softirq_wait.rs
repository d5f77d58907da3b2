//! Raised to running, and polls out of budget: see `insight-ebpf/src/softirq_wait.rs`.

use super::hooks::{
    Argument::{Number, Pointer},
    Hook,
};
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::SoftirqWait,
    hooks: &[
        Hook::tracepoint("softirq_raised", "softirq_raise", &[Number]),
        Hook::tracepoint("softirq_entered", "softirq_entry", &[Number]),
        Hook::tracepoint("device_polled", "napi_poll", &[Pointer, Number, Number]),
    ],
    offsets: &[],
    needs_forwarder: false,
};
