//! How long an established connection waits until the application uses it, and how long the queue
//! is in which connections wait to be accepted.
//!
//! - **Measures** `SYN_RECV → ESTABLISHED` to the first write, or to the first read. A read had no
//!   reason to come before the first bytes, so there it counts from those: the peer's own time is
//!   not in it.
//! - **Hooks**: `inet_sock_set_state`, since 4.16; `tcp_rcv_space_adjust`, since 4.15; `sk_data_ready`,
//!   `sock_send_length`, since 6.3, all shared. `sk_data_ready` runs for a listener each time a
//!   connection is queued on it: <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_minisocks.c#L923>.
//! - **Filtered**: a first write of HTTP/2 housekeeping, by its size: the next one counts.
//! - **Counted** per connection that is queued: it, how many wait then, itself included, and whether
//!   there was room for another one. What finds no room is in `node_netstat_TcpExt_ListenOverflows`; the kernel
//!   tells of no listener there.
//! - **Kept** in the socket's entry.
//! - **Lost**: `unreadable`.
//! - **Not seen**: when `accept` itself was called.

use crate::memory::{Object, member};
use crate::record::{count, count_many, duration, lose};
use crate::{globals, sockets};
use insight_common::kernel::layout::{Counter, Distribution, LISTENER, PEER_OTHER, Role, Socket};
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::opening::Opening;

/// It is established.
#[inline(always)]
pub fn on_established(socket: &mut Socket, now: u64) {
    if globals::is_on(Measurement::AcceptWait) && socket.role == Role::Accepted as u8 {
        socket.opening = Opening::at(now);
    }
}

/// Bytes came.
#[inline(always)]
pub fn on_ready(socket: &mut Socket, now: u64) {
    if globals::is_on(Measurement::AcceptWait) {
        socket.opening.on_ready(now);
    }
}

/// A thread read or wrote.
#[inline(always)]
pub fn on_use(socket: &mut Socket, now: u64, is_read: bool) {
    if !globals::is_on(Measurement::AcceptWait) || socket.role != Role::Accepted as u8 {
        return;
    }
    if let Some(ns) = socket.opening.first_use(now, is_read) {
        duration(Distribution::AcceptWait, socket.group, ns);
    }
}

/// Something came for a socket of the table. True: it is a listener, which holds no bytes.
#[inline(always)]
pub fn on_queued(sk: Object, socket: &mut Socket) -> bool {
    if socket.role != LISTENER {
        return false;
    }
    if !globals::is_on(Measurement::AcceptWait) {
        return true;
    }
    let waiting = member::<u32>(sk, globals::OFF_SK_ACK_BACKLOG.load());
    let most = member::<u32>(sk, globals::OFF_SK_MAX_ACK_BACKLOG.load());
    let (Some(waiting), Some(most)) = (waiting, most) else {
        lose(Measurement::AcceptWait, Loss::Unreadable);
        return true;
    };
    sockets::know_listener(sk, socket);
    let group = socket.group_of(PEER_OTHER, globals::PEERS.load());
    count(Counter::ListenQueued, group);
    count_many(Counter::ListenWaiting, group, u64::from(waiting));
    // The kernel takes one more than the number that was asked for.
    if waiting > most {
        count(Counter::ListenFull, group);
    }
    true
}
