//! `tcp_rcv_space_adjust`: the application took bytes, or peeked at them. Since 4.15.

use super::now;
use crate::memory::Object;
use crate::{receive_wait, sockets};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
fn data_read(ctx: BtfTracePointContext) -> i32 {
    let sk: Object = ctx.arg(0);
    if let Some(socket) = sockets::entry(sk) {
        receive_wait::on_read(sk, socket, now());
    }
    0
}
