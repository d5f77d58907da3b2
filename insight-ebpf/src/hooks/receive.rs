//! `sock_recv_length`: a thread's read returned. Since 6.3; fires for every kind of socket.

use super::now;
use crate::memory::Object;
use crate::{accept_wait, residence, sockets};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

#[btf_tracepoint(function = "sock_recv_length")]
fn bytes_received(ctx: BtfTracePointContext) -> i32 {
    let sk: Object = ctx.arg(0);
    let length: i32 = ctx.arg(1);
    if length > 0 {
        if let Some(socket) = sockets::entry(sk) {
            let now = now();
            accept_wait::on_use(socket, now, true);
            residence::on_receive(sk as u64, socket, ctx.arg(2), now);
        }
    }
    0
}
