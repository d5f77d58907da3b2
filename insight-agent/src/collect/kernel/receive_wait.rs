//! Data ready to application read: see `insight-ebpf/src/receive_wait.rs`.

use super::hooks;
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::ReceiveWait,
    hooks: &[hooks::DATA_READY, hooks::DATA_READ],
    offsets: &hooks::TCP,
    needs_forwarder: false,
};
