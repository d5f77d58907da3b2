//! Round trips per peer group, and their floor: see `insight-ebpf/src/socket_rtt.rs`.

use super::hooks;
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::SocketRtt,
    hooks: &[hooks::TCP_EVENT],
    offsets: &[],
    needs_forwarder: false,
};
