//! The table of TCP sockets: who opened each, and which peer group is at its other end.
//!
//! - **Keyed** by the socket's address. Ports are not known while a socket opens, nor when it has
//!   closed; the address is, and stays the same in between.
//! - **Enters** on `CLOSE → SYN_SENT` (connected), `LISTEN → SYN_RECV` (accepted) or `CLOSE → LISTEN`
//!   (a listener: it has no bytes and no peer, and is there for `accept_wait`), if in scope.
//!   A socket that was open before the programs were attached enters once, by `seeding`.
//! - **Leaves** when it is destroyed. It can have been closed for long before; but what ends a
//!   connection, such as a reset, comes after `→ CLOSE`, and belongs to its peer still.
//! - **Lost**: `map_full` when the table is; `unreadable` when its addresses are.
//! - **Memory**: 32,768 entries of 8 + 96 bytes: about 5.5 MB, allocated at load.

use crate::globals;
use crate::memory::{Object, member};
use crate::record::lose;
use crate::{accept_wait, connect, lines, scope, socket_rtt};
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use insight_common::kernel::layout::{LISTENER, PEER_KEY_BYTES, PEER_OTHER, PEER_PENDING, Role, Socket};
use insight_common::kernel::loss::{Loss, Measurement};

/// Sockets in scope, by address.
#[map]
static SOCKETS: HashMap<u64, Socket> = HashMap::with_max_entries(32_768, 0);

/// Peer groups by service port and address; port 0 stands for every port. The longest prefix wins.
#[map]
static PEER_RULES: LpmTrie<[u8; PEER_KEY_BYTES], u8> = LpmTrie::with_max_entries(4_096, 0);

pub const ESTABLISHED: i32 = 1;
pub const SYN_SENT: i32 = 2;
const SYN_RECV: i32 = 3;
const CLOSE: i32 = 7;
pub const LISTEN: i32 = 10;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const TCP: u16 = 6;

/// What the kernel answers where there is an entry already.
const EXISTS: i32 = -17;

/// The entry of a socket. **None**: not in scope, not TCP, or older than the programs.
#[inline(always)]
pub fn entry(sk: u64) -> Option<&'static mut Socket> {
    // SAFETY: entries are preallocated and never move; what another CPU does to the same one
    // meanwhile is described at `Socket`.
    SOCKETS.get_ptr_mut(sk).map(|socket| unsafe { &mut *socket })
}

/// A socket's state changed.
#[inline(always)]
pub fn on_state(sk: Object, old: i32, new: i32, now: u64) {
    match (old, new) {
        (CLOSE, SYN_SENT) => open(sk, Role::Connected as u8, now),
        (LISTEN, SYN_RECV) => open(sk, Role::Accepted as u8, now),
        (CLOSE, LISTEN) => open(sk, LISTENER, now),
        (_, ESTABLISHED) => {
            if let Some(socket) = entry(sk as u64) {
                socket.peer = peer_of(sk, socket.role);
                connect::on_established(socket, now);
                accept_wait::on_established(socket, now);
                socket_rtt::on_peer_known(socket);
                lines::socket_known(sk, socket.role, socket.peer);
            }
        }
        (SYN_SENT, CLOSE) => {
            if let Some(socket) = entry(sk as u64) {
                connect::on_failed(sk, socket);
            }
        }
        _ => {}
    }
}

/// The socket is gone.
#[inline(always)]
pub fn on_destroy(sk: Object) {
    // An error says that it had no entry.
    let _ = SOCKETS.remove(sk as u64);
}

/// A socket opens: its role is a [`Role`], or that of a listener.
#[inline(always)]
pub fn open(sk: Object, role: u8, now: u64) {
    if !scope::holds(sk) || member::<u16>(sk, globals::OFF_SK_PROTOCOL.load()) != Some(TCP) {
        return; // not ours
    }
    let mut socket = Socket::opening(role);
    connect::on_begin(&mut socket, now);
    if SOCKETS.insert(sk as u64, socket, 0).is_err() {
        lose(Measurement::Sockets, Loss::MapFull);
    }
}

/// Enters a socket that is not new, unless it has an entry. Gives whether it had none. **None**: it
/// still has none.
#[inline(always)]
pub fn join(sk: Object, socket: &Socket) -> Option<bool> {
    match SOCKETS.insert(sk as u64, socket, u64::from(BPF_NOEXIST)) {
        Ok(()) => Some(true),
        Err(EXISTS) => Some(false),
        Err(_) => {
            lose(Measurement::Sockets, Loss::MapFull);
            None
        }
    }
}

/// The group that holds the socket's remote address, at the port of the service: the remote one of
/// a connected socket, the local one of an accepted socket.
#[inline(never)]
pub fn peer_of(sk: Object, role: u8) -> u8 {
    let Some(mut key) = address_of(sk) else {
        lose(Measurement::Sockets, Loss::Unreadable);
        return PEER_PENDING;
    };
    if let Some(port) = service_port(sk, role) {
        let port = port.to_be_bytes();
        key.data[0] = port[0];
        key.data[1] = port[1];
        if let Some(group) = PEER_RULES.get(&key) {
            return *group;
        }
    }
    key.data[0] = 0;
    key.data[1] = 0;
    PEER_RULES.get(&key).copied().unwrap_or(PEER_OTHER)
}

/// The port of the service at either end. **None**: unreadable.
#[inline(always)]
pub fn service_port(sk: Object, role: u8) -> Option<u16> {
    match Role::of(role) {
        Some(Role::Connected) => member::<u16>(sk, globals::OFF_SKC_DPORT.load()).map(u16::from_be),
        _ => member::<u16>(sk, globals::OFF_SKC_NUM.load()),
    }
}

/// The remote address as IPv6, or IPv4-mapped, with port 0.
#[inline(always)]
fn address_of(sk: Object) -> Option<Key<[u8; PEER_KEY_BYTES]>> {
    let mut data = [0_u8; PEER_KEY_BYTES];
    match member::<u16>(sk, globals::OFF_SKC_FAMILY.load())? {
        AF_INET => {
            let address: [u8; 4] = member(sk, globals::OFF_SKC_DADDR.load())?;
            data[12] = 0xff;
            data[13] = 0xff;
            data[14] = address[0];
            data[15] = address[1];
            data[16] = address[2];
            data[17] = address[3];
        }
        AF_INET6 => {
            let address: [u8; 16] = member(sk, globals::OFF_SKC_V6_DADDR.load())?;
            let mut at = 0;
            while at < 16 {
                data[at + 2] = address[at];
                at += 1;
            }
        }
        _ => return None,
    }
    Some(Key::new(PEER_KEY_BYTES as u32 * 8, data))
}
