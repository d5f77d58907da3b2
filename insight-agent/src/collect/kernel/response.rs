//! Request out to first answer in: see `insight-ebpf/src/response.rs`.

use super::hooks;
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::Response,
    hooks: &[hooks::DATA_READY, hooks::SEND],
    offsets: &[("OFF_TCP_RCV_NXT", "tcp_sock", "rcv_nxt"), ("OFF_TCP_COPIED_SEQ", "tcp_sock", "copied_seq")],
    needs_forwarder: false,
};
