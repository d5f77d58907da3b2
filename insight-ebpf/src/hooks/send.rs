//! `sock_send_length`: a thread's write returned. Since 6.3; fires for every kind of socket.

use super::now;
use crate::memory::Object;
use crate::{globals, residence, response, sockets, turnaround};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::exchange::is_control;
use insight_common::kernel::layout::Role;

#[btf_tracepoint(function = "sock_send_length")]
fn bytes_sent(ctx: BtfTracePointContext) -> i32 {
    let sk: Object = ctx.arg(0);
    let length: i32 = ctx.arg(1);
    if length <= 0 || (globals::HTTP2.load() != 0 && is_control(length as u32)) {
        return 0;
    }
    let Some(socket) = sockets::entry(sk as u64) else { return 0 };
    let now = now();
    residence::on_send(sk as u64, socket, now);
    match Role::of(socket.role) {
        Some(Role::Accepted) => turnaround::on_answer_out(socket, now),
        Some(Role::Connected) => response::on_request_out(socket, now),
        None => {}
    }
    0
}
