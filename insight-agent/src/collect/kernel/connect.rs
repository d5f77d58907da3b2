//! Connecting, and why it fails: see `insight-ebpf/src/connect.rs`.

use super::hooks;
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::Connect,
    hooks: &[hooks::SOCKET_STATE],
    offsets: &[("OFF_SK_ERR", "sock", "sk_err")],
    needs_forwarder: false,
};
