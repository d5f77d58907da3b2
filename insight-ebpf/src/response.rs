//! Request out → first answer in, on connected sockets.
//!
//! - **Measures** `sock_send_length` with bytes → `sk_data_ready`, both since 6.3:
//!   <https://github.com/torvalds/linux/blob/v6.12/net/core/sock.c#L3469>. The start is stamped
//!   when the call returns; on loopback a fast answer can be there before.
//! - **Filtered**: HTTP/2 housekeeping, by its sizes.
//! - **Kept** in the socket's entry: see `insight_common::kernel::exchange`.
//! - **Lost**: `overlapped`, `opening`.

use crate::globals;
use crate::record::{duration_of_one_program, lose};
use insight_common::kernel::exchange::Answer;
use insight_common::kernel::layout::{Distribution, Socket};
use insight_common::kernel::loss::{Loss, Measurement};

/// Request bytes left.
#[inline(always)]
pub fn on_request_out(socket: &mut Socket, now: u64) {
    if globals::is_on(Measurement::Response) {
        socket.exchange.ask(now);
    }
}

/// Answer bytes arrived.
#[inline(always)]
pub fn on_answer_in(socket: &mut Socket, now: u64) {
    if !globals::is_on(Measurement::Response) {
        return;
    }
    match socket.exchange.answer(now, globals::SKIP_EXCHANGES.load()) {
        Answer::Nothing => {}
        Answer::Took(ns) => duration_of_one_program(Distribution::Response, socket.group, ns),
        Answer::Overlapped => lose(Measurement::Response, Loss::Overlapped),
        Answer::Opening => lose(Measurement::Response, Loss::Opening),
    }
}
