//! `inet_sock_set_state`: a socket opens, is established, or closes. Since 4.16. Two programs: see `sockets`.

use super::now;
use crate::memory::Object;
use crate::sockets;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

#[btf_tracepoint(function = "inet_sock_set_state")]
fn socket_begin(ctx: BtfTracePointContext) -> i32 {
    let sk: Object = ctx.arg(0);
    if ctx.arg::<i32>(1) == sockets::CLOSE {
        sockets::on_begin(sk, ctx.arg(2), now());
    }
    0
}

#[btf_tracepoint(function = "inet_sock_set_state")]
fn socket_state(ctx: BtfTracePointContext) -> i32 {
    let sk: Object = ctx.arg(0);
    if ctx.arg::<i32>(1) != sockets::CLOSE {
        sockets::on_state(sk, ctx.arg(1), ctx.arg(2), now());
    }
    0
}
