//! Queue discipline and driver: see `insight-ebpf/src/qdisc_wait.rs`.

use super::hooks::{
    Argument::{Number, Pointer},
    Hook,
};
use super::spec::Spec;
use insight_common::kernel::loss::Measurement;

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::QdiscWait,
    hooks: &[
        Hook::tracepoint("packet_queued", "net_dev_queue", &[Pointer]),
        Hook::tracepoint("packet_handed", "net_dev_start_xmit", &[Pointer, Pointer]),
        Hook::tracepoint("packet_sent", "net_dev_xmit", &[Pointer, Number, Pointer]),
    ],
    offsets: &[
        ("OFF_SKB_DEV", "sk_buff", "dev"),
        ("OFF_DEV_NET", "net_device", "nd_net.net"),
        ("OFF_DEV_INDEX", "net_device", "ifindex"),
        ("OFF_NET_INUM", "net", "ns.inum"),
    ],
    needs_forwarder: false,
};
