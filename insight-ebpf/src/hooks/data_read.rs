//! `tcp_rcv_space_adjust`: the application took bytes, or peeked at them. Since 4.15.

use super::now;
use crate::memory::Object;
use crate::record::lose;
use crate::tcp::sequence_of;
use crate::{accept_wait, globals, receive_wait, residence, sampling, sockets, threads};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::layout::NOBODY;
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::receive::{self, Read};

#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
fn data_read(ctx: BtfTracePointContext) -> i32 {
    let sk: Object = ctx.arg(0);
    let Some(socket) = sockets::entry(sk) else { return 0 };
    let Some(sequence) = sequence_of(sk) else {
        lose(Measurement::ReceiveWait, Loss::Unreadable);
        return 0;
    };
    // A peek: the bytes stay.
    if sequence.copied == socket.copied_seq {
        return 0;
    }
    socket.copied_seq = sequence.copied;
    let now = now();
    let running = threads::current();
    let forwarder = threads::forwarder_with(running.as_deref());
    sockets::on_use(sk, socket, forwarder, now);
    if sampling::leaves_out(socket) {
        residence::on_read(running, sk, socket, false, now);
        return 0;
    }
    let read = receive::read(socket, now, &sequence, globals::control());
    // Two numbers that always have a value: the compiler may leave an enum's payload unset, and the
    // verifier refuses to see such a register copied.
    let (waited_ns, is_unstamped) = match read {
        Read::Waited(ns) => (ns.max(1), false),
        Read::Unstamped => (0, true),
        Read::Nothing => (0, false),
    };
    let counts = globals::FORWARDERS_ONLY.load() == 0 || forwarder != NOBODY;
    receive_wait::on_read(counts, socket, waited_ns, is_unstamped);
    accept_wait::on_use(socket, now, true);
    residence::on_read(running, sk, socket, is_unstamped, now);
    0
}
