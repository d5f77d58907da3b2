//! How long a full send buffer holds an application up.
//!
//! - **Measures** a write that did not fit, or fitted in part, to the next one that fits, by
//!   `sock_send_length`, since 6.3, shared. A buffer that filled up leaves a mark on the socket,
//!   `SOCK_NOSPACE`: event loops stop after a short write and never see EAGAIN.
//! - **Kept** in the socket's entry.
//! - **Lost**: `unreadable`.
//! - **Not seen**: applications that sleep inside of the call.

use crate::globals;
use crate::memory::{Object, follow, member};
use crate::record::{duration_of_one_program, lose};
use insight_common::kernel::layout::{Distribution, Role, Socket};
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::tick::Tick;

/// `-EAGAIN`: nothing fitted.
const NOTHING_FITS: i32 = -11;

/// `SOCK_NOSPACE`, a bit of `socket.flags`.
const NO_SPACE: u64 = 1 << 2;

/// A write that wrote nothing is of interest here, and to nobody else.
#[inline(always)]
pub fn is_interested(length: i32) -> bool {
    globals::is_on(Measurement::SendBlocked) && length == NOTHING_FITS
}

/// A write returned.
#[inline(always)]
pub fn on_send(sk: Object, socket: &mut Socket, length: i32, now: u64) {
    if !globals::is_on(Measurement::SendBlocked) {
        return;
    }
    let flags = follow(sk, globals::OFF_SK_SOCKET.load())
        .and_then(|socket| member::<u64>(socket, globals::OFF_SOCKET_FLAGS.load()));
    let Some(flags) = flags else {
        lose(Measurement::SendBlocked, Loss::Unreadable);
        return;
    };
    if length == NOTHING_FITS || flags & NO_SPACE != 0 {
        if !socket.blocked.is_some() {
            socket.blocked = Tick::of(now);
        }
    } else if length > 0 && socket.blocked.is_some() {
        let accepted = socket.role == Role::Accepted as u8;
        let distribution =
            if accepted { Distribution::SendBlockedAccepted } else { Distribution::SendBlockedConnected };
        duration_of_one_program(distribution, socket.group, socket.blocked.until_ns(now));
        socket.blocked = Tick::NONE;
    }
}
