//! Round trips per peer group, and their floor: see `insight-ebpf/src/socket_rtt.rs`.

use super::hooks::Hook;
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::SocketRtt,
    switch: "ON_SOCKET_RTT",
    hooks: &[Hook::TcpEvent],
    offsets: &[],
    needs_forwarder: false,
};
