//! How long connecting takes, and why it fails.
//!
//! - **Measures** `CLOSE → SYN_SENT` to `SYN_SENT → ESTABLISHED`, retries included: a lost SYN
//!   shows as 1 s, 3 s, 7 s more.
//! - **Hook**: `inet_sock_set_state`, since 4.16:
//!   <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/af_inet.c#L1356>, shared with the table of sockets.
//! - **Failures** by the error that the socket holds when it goes back to CLOSE. No error: the
//!   application closed it, as a proxy does when its own time for connecting is over, and as the
//!   loser of two attempts (IPv6 and IPv4) is.
//! - **Kept** in the socket's entry.
//! - **Lost**: `unstamped`, when the begin was not seen; `unreadable`.
//! - **Not seen**: TCP Fast Open, which connects with the first write.

use crate::memory::{Object, member};
use crate::record::{count, duration_of_one_program, lose};
use crate::{globals, sockets};
use insight_common::kernel::layout::{Distribution, Role, Socket};
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::opening::{Opening, failure};

/// It begins to connect.
#[inline(always)]
pub fn on_begin(socket: &mut Socket, now: u64) {
    if globals::is_on(Measurement::Connect) && socket.role == Role::Connected as u8 {
        socket.opening = Opening::at(now);
    }
}

/// It is established, and its peer group known.
#[inline(always)]
pub fn on_established(socket: &mut Socket, now: u64) {
    if !globals::is_on(Measurement::Connect) || socket.role != Role::Connected as u8 {
        return;
    }
    match socket.opening.first_use(now, false) {
        Some(ns) => duration_of_one_program(Distribution::Connect, socket.group, ns),
        None => lose(Measurement::Connect, Loss::Unstamped),
    }
}

/// It was connecting, and is closed.
#[inline(always)]
pub fn on_failed(sk: Object, socket: &Socket) {
    if !globals::is_on(Measurement::Connect) {
        return;
    }
    match member::<u32>(sk, globals::OFF_SK_ERR.load()) {
        Some(error) => count(failure(error), sockets::group_of(sk, socket)),
        None => lose(Measurement::Connect, Loss::Unreadable),
    }
}
