//! Connections that were reset.
//!
//! - **Counts** resets that came in on a socket of the table, and those that it sent: because data
//!   came that nobody will read, or the application closed with bytes unread.
//! - **Hooks**: `tcp_receive_reset`, `tcp_send_reset`, since 4.16:
//!   <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c#L4512>. No other measurement needs them, so
//!   they are here.
//! - **Not seen**: answers to segments that belong to no socket, which have no peer; they are in
//!   `node_netstat_Tcp_OutRsts`.
//! - **Lost**: `unreadable`.

use crate::memory::Object;
use crate::{record, sockets};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::layout::{Counter, PEER_PENDING};

#[btf_tracepoint(function = "tcp_receive_reset")]
fn reset_received(ctx: BtfTracePointContext) -> i32 {
    count(Counter::ResetsReceived, ctx.arg(0));
    0
}

#[btf_tracepoint(function = "tcp_send_reset")]
fn reset_sent(ctx: BtfTracePointContext) -> i32 {
    count(Counter::ResetsSent, ctx.arg(0));
    0
}

#[inline(always)]
fn count(counter: Counter, sk: Object) {
    // An answer to a segment of no socket. Kernels since 6.13 refuse a program that does not ask.
    if sk.is_null() {
        return;
    }
    // No entry: not in scope.
    let Some(socket) = sockets::entry(sk) else { return };
    // A connection that is refused was never established.
    let group = if socket.group == PEER_PENDING { sockets::group_of(sk, socket) } else { socket.group };
    record::count(counter, group);
}
