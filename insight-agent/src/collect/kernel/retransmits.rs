//! Segments sent once more, and recovery from loss: see `insight-ebpf/src/retransmits.rs`.

use super::hooks::{
    Argument::{Number, Pointer},
    Hook,
};
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::Retransmits,
    hooks: &[
        Hook::tracepoint("retransmit", "tcp_retransmit_skb", &[Pointer]).with_arity("ARGS_RETRANSMIT"),
        Hook::tracepoint("retransmit_synack", "tcp_retransmit_synack", &[Pointer, Pointer]),
        Hook::tracepoint("congestion", "tcp_cong_state_set", &[Pointer, Number]),
    ],
    offsets: &[],
    needs_forwarder: false,
};
