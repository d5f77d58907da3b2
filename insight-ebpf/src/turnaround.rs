//! Request in → first answer out, on accepted sockets.
//!
//! - **Measures** `sk_data_ready` → `sock_send_length` with bytes, both since 6.3:
//!   <https://github.com/torvalds/linux/blob/v6.12/net/socket.c#L726>. The end is stamped when the
//!   call returns, 2 to 25 µs after the bytes left.
//! - **Filtered**: HTTP/2 housekeeping, by its sizes.
//! - **Kept** in the socket's entry: see `insight_common::kernel::exchange`, which says what makes
//!   an exchange clean.
//! - **Lost**: `overlapped`, `opening`.

use crate::globals;
use crate::record::{duration_of_one_program, lose};
use insight_common::kernel::exchange::Answer;
use insight_common::kernel::layout::{Distribution, Socket};
use insight_common::kernel::loss::{Loss, Measurement};

/// Request bytes arrived.
#[inline(always)]
pub fn on_request_in(socket: &mut Socket, now: u64) {
    if globals::is_on(Measurement::Turnaround) {
        socket.exchange.ask(now);
    }
}

/// Answer bytes left.
#[inline(always)]
pub fn on_answer_out(socket: &mut Socket, now: u64) {
    if !globals::is_on(Measurement::Turnaround) {
        return;
    }
    match socket.exchange.answer(now, globals::SKIP_EXCHANGES.load()) {
        Answer::Nothing => {}
        Answer::Took(ns) => duration_of_one_program(Distribution::Turnaround, socket.group, ns),
        Answer::Overlapped => lose(Measurement::Turnaround, Loss::Overlapped),
        Answer::Opening => lose(Measurement::Turnaround, Loss::Opening),
    }
}
