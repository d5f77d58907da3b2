//! Sockets that were open before the programs were attached.
//!
//! - **Walks** all sockets of one network namespace, once, after everything else is attached:
//!   `iter/tcp`, since 5.9. The kernel's walk has all listeners before all others, and holds each
//!   socket's lock: `bpf_iter_tcp_batch`, `bpf_iter_tcp_seq_show` in
//!   <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_ipv4.c>.
//! - **Enters** those in scope on which bytes can still arrive, and those that still connect.
//! - **Role**: accepted where a listener has its local port; else connected. The connection of a
//!   listener that has been closed passes for a connected one.
//! - **Exchanges** and unread bytes under way are left out: see `Exchange::joined`, `receive::join`.
//! - **Round trips** are asked for since 6.12; before, such a socket has none.
//! - **Lost**: `map_full` for a listener without room, after which sockets without a listener are
//!   left out, for their role is not certain, and counted too; `unreadable`.
//! - **Memory**: 1,024 listeners of 8 + 1 bytes: about 80 KB.

use crate::memory::{Object, follow, member};
use crate::record::lose;
use crate::tcp::sequence_of;
use crate::{globals, lines, sampling, scope, socket_rtt, sockets};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap};
use core::ffi::c_void;
use insight_common::kernel::exchange::Exchange;
use insight_common::kernel::layout::{LISTENER, PEER_PENDING, Role, SEEDED_COUNTERS, Socket, UNLISTED};
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::receive;

/// Listeners by network namespace and port.
#[map]
static LISTENERS: HashMap<u64, u8> = HashMap::with_max_entries(1_024, 0);

/// Sockets entered, by role, and listeners without room. One thread writes, once.
#[map]
static SEEDED: Array<u64> = Array::with_max_entries(SEEDED_COUNTERS, 0);

const FIN_WAIT1: i32 = 4;
const FIN_WAIT2: i32 = 5;
const CLOSE_WAIT: i32 = 8;

/// A socket of the walk; `tcp` is the same, as the helpers want it.
#[inline(always)]
pub fn on_socket(sk: Object, tcp: *mut c_void, now: u64) {
    let Some(state) = member::<u8>(sk, globals::OFF_SKC_STATE.load()) else {
        lose(Measurement::Sockets, Loss::Unreadable);
        return;
    };
    match i32::from(state) {
        sockets::LISTEN => on_listener(sk, tcp),
        // When it began is not known.
        sockets::SYN_SENT => {
            let socket = Socket::opening(Role::Connected as u8);
            if scope::holds(sk) {
                let _ = sockets::join(tcp, &socket);
            }
        }
        sockets::ESTABLISHED | FIN_WAIT1 | FIN_WAIT2 | CLOSE_WAIT => on_open(sk, tcp, now),
        // The others will get no more bytes, or have an entry by their change of state.
        _ => {}
    }
}

#[inline(always)]
fn on_listener(sk: Object, tcp: *mut c_void) {
    if scope::holds(sk) {
        // It has no peer, which seeds no role: not counted.
        let _ = sockets::join(tcp, &Socket::opening(LISTENER));
    }
    let entered = port_of(sk).map(|port| LISTENERS.insert(port, 1, 0));
    match entered {
        Some(Ok(())) => {}
        Some(Err(_)) => {
            count(UNLISTED);
            lose(Measurement::Sockets, Loss::MapFull);
        }
        None => lose(Measurement::Sockets, Loss::Unreadable),
    }
}

#[inline(always)]
fn on_open(sk: Object, tcp: *mut c_void, now: u64) {
    if !scope::holds(sk) {
        return;
    }
    let (Some(port), Some(sequence)) = (port_of(sk), sequence_of(sk)) else {
        lose(Measurement::Sockets, Loss::Unreadable);
        return;
    };
    let accepted = LISTENERS.get_ptr(port).is_some();
    if !accepted && SEEDED.get(UNLISTED).is_some_and(|unlisted| *unlisted != 0) {
        lose(Measurement::Sockets, Loss::MapFull);
        return;
    }
    let role = if accepted { Role::Accepted } else { Role::Connected };
    let mut socket = Socket::opening(role as u8);
    socket.set_peer(sockets::peer_of(sk, role as u8), globals::PEERS.load());
    if socket.peer == PEER_PENDING {
        return; // unreadable, and counted there
    }
    socket.exchange = Exchange::joined(now, globals::SKIP_EXCHANGES.load());
    receive::join(&mut socket, &sequence);
    sampling::on_peer_known(&mut socket);
    let entered = sockets::join(tcp, &socket);
    if entered != Some(true) {
        sampling::on_end(&mut socket);
    }
    let Some(entered) = entered else { return };
    if entered {
        count(role.seeded());
        lines::socket_known(sk, role as u8, socket.peer);
    }
    if sampling::leaves_out(&socket) {
        return;
    }
    // One that has an entry may have opened between the attachments of its two programs.
    socket_rtt::ask_for_samples_of(tcp);
}

/// The socket's local port with the number of its network namespace. **None**: unreadable.
#[inline(always)]
pub fn port_of(sk: Object) -> Option<u64> {
    let net = follow(sk, globals::OFF_SKC_NET.load())?;
    let inum: u32 = member(net, globals::OFF_NET_INUM.load())?;
    let port: u16 = member(sk, globals::OFF_SKC_NUM.load())?;
    Some((u64::from(inum) << 16) | u64::from(port))
}

#[inline(always)]
fn count(counter: u32) {
    if let Some(counter) = SEEDED.get_ptr_mut(counter) {
        // SAFETY: entries never move, and one thread walks, once.
        unsafe { *counter += 1 };
    }
}
