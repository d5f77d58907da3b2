//! Established to first used, and the queue of listeners: see `insight-ebpf/src/accept_wait.rs`.

use super::hooks;
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::AcceptWait,
    hooks: &[hooks::DATA_READY, hooks::DATA_READ, hooks::SEND],
    offsets: &[
        hooks::TCP[0],
        hooks::TCP[1],
        ("OFF_SK_ACK_BACKLOG", "sock", "sk_ack_backlog"),
        ("OFF_SK_MAX_ACK_BACKLOG", "sock", "sk_max_ack_backlog"),
    ],
    needs_forwarder: false,
};
