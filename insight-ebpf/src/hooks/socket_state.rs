//! `inet_sock_set_state`: a socket opens, is established, or closes. Since 4.16.

use super::now;
use crate::memory::Object;
use crate::sockets;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

#[btf_tracepoint(function = "inet_sock_set_state")]
fn socket_state(ctx: BtfTracePointContext) -> i32 {
    let sk: Object = ctx.arg(0);
    sockets::on_state(sk, ctx.arg(1), ctx.arg(2), now());
    0
}
