//! `sock_send_length`: a thread's write returned. Since 6.3; fires for every kind of socket.
//!
//! A write that goes on with what its thread wrote to the same socket since it last read or slept is part of
//! one answer or request, and looked at no further.

use super::now;
use crate::memory::Object;
use crate::tcp::departure_of;
use crate::{
    accept_wait, globals, residence, response, sampling, send_blocked, sockets, threads, turnaround,
};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::layout::Role;
use insight_common::kernel::loss::Measurement;

#[btf_tracepoint(function = "sock_send_length")]
fn bytes_sent(ctx: BtfTracePointContext) -> i32 {
    let sk: Object = ctx.arg(0);
    let length: i32 = ctx.arg(1);
    if length <= 0 && !send_blocked::is_interested(length) {
        return 0;
    }
    let is_housekeeping = globals::control().is(length as u32);
    if is_housekeeping && !globals::is_on(Measurement::SendBlocked) {
        return 0;
    }
    let Some(socket) = sockets::entry(sk) else { return 0 };
    sockets::know_peer(sk, socket);
    if sampling::leaves_out(socket) {
        return 0;
    }
    let writer = threads::current();
    let goes_on = residence::goes_on(writer.as_deref(), socket);
    if goes_on && !globals::is_on(Measurement::SendBlocked) {
        return 0;
    }
    let now = if length > 0 { departure_of(sk) } else { now() };
    let forwarder = threads::followed_forwarder_of(writer.as_deref());
    sockets::on_use(sk, socket, forwarder, now);
    send_blocked::on_send(sk, socket, length, now);
    if length <= 0 || is_housekeeping || goes_on {
        return 0;
    }
    accept_wait::on_use(socket, now, false);
    residence::on_send(writer, sk, socket, now);
    match Role::of(socket.role) {
        Some(Role::Accepted) => turnaround::on_answer_out(socket, now),
        Some(Role::Connected) => response::on_request_out(socket, now),
        None => {}
    }
    0
}
