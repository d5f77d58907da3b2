//! `sk_data_ready`: bytes can be read. Since 6.3; fires for every kind of socket.

use crate::memory::Object;
use crate::record::lose;
use crate::tcp::Tcp;
use crate::{accept_wait, globals, response, sampling, sockets, turnaround};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::layout::Role;
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::receive;

#[btf_tracepoint(function = "sk_data_ready")]
fn data_ready(ctx: BtfTracePointContext) -> i32 {
    let sk: Object = ctx.arg(0);
    // No entry: not TCP, not in scope, or older than this program.
    let Some(socket) = sockets::entry(sk) else { return 0 };
    if accept_wait::on_queued(sk, socket) {
        return 0;
    }
    sockets::know_peer(sk, socket);
    if sampling::leaves_out(socket) {
        return 0;
    }
    let Some(tcp) = Tcp::of(sk) else {
        lose(Measurement::ReceiveWait, Loss::Unreadable);
        return 0;
    };
    let now = tcp.arrival_ns();
    accept_wait::on_ready(socket, now);
    if !receive::ready(socket, now, &tcp.sequence(sk), globals::control()) {
        return 0;
    }
    match Role::of(socket.role) {
        Some(Role::Accepted) => turnaround::on_request_in(socket, now),
        Some(Role::Connected) => response::on_answer_in(socket, now),
        None => {}
    }
    0
}
