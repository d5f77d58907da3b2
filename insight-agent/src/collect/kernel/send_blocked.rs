//! A full send buffer to the next write that fits: see `insight-ebpf/src/send_blocked.rs`.

use super::hooks;
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::SendBlocked,
    hooks: &[hooks::SEND],
    offsets: &[("OFF_SK_SOCKET", "sock", "sk_socket"), ("OFF_SOCKET_FLAGS", "socket", "flags")],
    needs_forwarder: false,
};
