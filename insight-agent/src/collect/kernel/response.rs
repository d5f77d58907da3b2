//! Request out to first answer in: see `insight-ebpf/src/response.rs`.

use super::hooks;
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::Response,
    hooks: &[hooks::DATA_READY, hooks::SEND],
    offsets: &hooks::TCP,
    needs_forwarder: false,
};
