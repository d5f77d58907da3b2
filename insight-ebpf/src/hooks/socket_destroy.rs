//! `tcp_destroy_sock`: a socket ends, if its state has not said so before. Since 4.16.

use crate::memory::Object;
use crate::sockets;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn socket_destroy(ctx: BtfTracePointContext) -> i32 {
    let sk: Object = ctx.arg(0);
    sockets::on_destroy(sk);
    0
}
