//! Packets that the kernel dropped, by class of its reason.
//!
//! - **Counts** `kfree_skb`, which is a drop; what was delivered is freed by `consume_skb`.
//! - **Hook**: `kfree_skb`, since 2.6; its reason since 5.17:
//!   <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/skb.h#L24>. The receiving socket is an argument
//!   since 6.11. No other measurement needs it, so it is here.
//! - **Class**: the kernel renumbers its reasons; their names stay. The loader fills a table from the names in the
//!   running kernel's types. Without the argument every drop is `unspecified`.
//! - **Filtered**: reasons that say that nothing was dropped. With a scope by network namespace, packets of others: the
//!   namespace is the receiving socket's, else the device's, else the sending socket's. A packet belongs to no
//!   cgroup, so with a scope by cgroup the measurement is disabled.
//! - **Not seen**: what the network card drops, and connection requests that overflow a listener's queue, whose packet
//!   is consumed; both are in the host's own counters.
//! - **Lost**: `unreadable`, where the namespace cannot be told: before 6.11, a UDP datagram for a full socket.

use crate::memory::{Object, follow};
use crate::{globals, record, scope};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::drops::{DROP_CLASSES, DropClass, REASONS, class_of};
use insight_common::kernel::layout::Counter;
use insight_common::kernel::loss::{Loss, Measurement};

/// The class of each reason.
#[map]
static DROP_CLASS: Array<u8> = Array::with_max_entries(REASONS as u32, 0);

#[btf_tracepoint(function = "kfree_skb")]
fn packet_drop(ctx: BtfTracePointContext) -> i32 {
    let arguments = globals::KFREE_SKB_ARGUMENTS.load();
    let class = if arguments > 2 {
        class_of(ctx.arg(2), |reason| DROP_CLASS.get(reason).copied())
    } else {
        Some(DropClass::Unspecified as u32)
    };
    // Freed, not dropped.
    let Some(class) = class else { return 0 };
    if globals::SCOPE_NETNS.load() != 0 {
        let receiver: Object = if arguments > 3 { ctx.arg(3) } else { core::ptr::null() };
        match namespace_of(ctx.arg(0), receiver) {
            Some(inum) if scope::lists(inum) => {}
            // Another agent's.
            Some(_) => return 0,
            None => {
                record::lose(Measurement::Drops, Loss::Unreadable);
                return 0;
            }
        }
    }
    record::count_nth(Counter::DropsNoSocket, class, DROP_CLASSES);
    0
}

/// Whose packet it is. **None**: it has neither socket nor device any more.
#[inline(always)]
fn namespace_of(skb: Object, receiver: Object) -> Option<u32> {
    let of_socket = |sk| scope::namespace_of(sk, globals::OFF_SKC_NET.load());
    // Kernels since 6.13 refuse a program that does not ask.
    if !receiver.is_null() {
        return of_socket(receiver);
    }
    // Protocols keep numbers of their own in the device's place, which are no addresses.
    let device = follow(skb, globals::OFF_SKB_DEV.load())
        .and_then(|device| scope::namespace_of(device, globals::OFF_DEV_NET.load()));
    device.or_else(|| follow(skb, globals::OFF_SKB_SK.load()).and_then(of_socket))
}
