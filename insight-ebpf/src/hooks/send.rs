//! `sock_send_length`: a thread's write returned. Since 6.3; fires for every kind of socket.

use super::now;
use crate::memory::Object;
use crate::{accept_wait, globals, residence, response, send_blocked, sockets, turnaround};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::exchange::is_control;
use insight_common::kernel::layout::Role;
use insight_common::kernel::loss::Measurement;

#[btf_tracepoint(function = "sock_send_length")]
fn bytes_sent(ctx: BtfTracePointContext) -> i32 {
    let sk: Object = ctx.arg(0);
    let length: i32 = ctx.arg(1);
    if length <= 0 && !send_blocked::is_interested(length) {
        return 0;
    }
    let is_housekeeping = globals::HTTP2.load() != 0 && is_control(length as u32);
    if is_housekeeping && !globals::is_on(Measurement::SendBlocked) {
        return 0;
    }
    let Some(socket) = sockets::entry(sk) else { return 0 };
    let now = now();
    send_blocked::on_send(sk, socket, length, now);
    if length <= 0 || is_housekeeping {
        return 0;
    }
    accept_wait::on_use(socket, now, false);
    residence::on_send(sk, socket, now);
    match Role::of(socket.role) {
        Some(Role::Accepted) => turnaround::on_answer_out(socket, now),
        Some(Role::Connected) => response::on_request_out(socket, now),
        None => {}
    }
    0
}
