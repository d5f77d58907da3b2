//! Data ready to application read: see `insight-ebpf/src/receive_wait.rs`.

use super::hooks::Hook;
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::ReceiveWait,
    switch: "ON_RECEIVE_WAIT",
    hooks: &[Hook::DataReady, Hook::DataRead],
    offsets: &[("OFF_TCP_RCV_NXT", "tcp_sock", "rcv_nxt"), ("OFF_TCP_COPIED_SEQ", "tcp_sock", "copied_seq")],
    needs_forwarder: false,
};
