//! Request in to first answer out: see `insight-ebpf/src/turnaround.rs`.

use super::hooks;
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::Turnaround,
    hooks: &[hooks::DATA_READY, hooks::SEND],
    offsets: &hooks::TCP,
    needs_forwarder: false,
};
