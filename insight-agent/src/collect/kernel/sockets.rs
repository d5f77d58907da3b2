//! The table of sockets, which every measurement rests on: roles, peer groups, scope.

use super::hooks;
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::Sockets,
    hooks: &[hooks::SOCKET_STATE, hooks::SOCKET_DESTROY],
    offsets: &[
        ("OFF_SKC_FAMILY", "sock_common", "skc_family"),
        ("OFF_SKC_STATE", "sock_common", "skc_state"),
        ("OFF_SKC_NUM", "sock_common", "skc_num"),
        ("OFF_SKC_DPORT", "sock_common", "skc_dport"),
        ("OFF_SKC_DADDR", "sock_common", "skc_daddr"),
        ("OFF_SKC_V6_DADDR", "sock_common", "skc_v6_daddr"),
        ("OFF_SKC_NET", "sock_common", "skc_net"),
        ("OFF_SK_STORAGE", "sock", "sk_bpf_storage"),
        ("OFF_SK_PROTOCOL", "sock", "sk_protocol"),
    ],
    needs_forwarder: false,
};
