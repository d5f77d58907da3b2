//! Connections that were reset: see `insight-ebpf/src/resets.rs`.

use super::hooks::{Argument::Pointer, Hook};
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::Resets,
    hooks: &[
        Hook::tracepoint("reset_received", "tcp_receive_reset", &[Pointer]),
        Hook::tracepoint("reset_sent", "tcp_send_reset", &[Pointer]),
    ],
    offsets: &[],
    needs_forwarder: false,
};
