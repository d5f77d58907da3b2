//! The table of TCP sockets: who opened each, and which peer group is at its other end.
//!
//! - **Kept** with the socket itself (socket storage, since 5.11 for these programs): a socket that has
//!   none of anybody is told by one load, without a look-up. Ports would be no key: they are not known
//!   while a socket opens, nor when it has closed.
//! - **Enters** on `CLOSE → SYN_SENT` (connected), `LISTEN → SYN_RECV` (accepted) or `CLOSE → LISTEN`
//!   (a listener: it has no bytes and no peer, and is there for `accept_wait`), if in scope.
//!   A socket that was open before the programs were attached enters once, by `seeding`.
//! - **Seen twice**: one program for what begins in the thread that asks for it and takes longest, one for the
//!   rest. The kernel leaves a program out that is already at work on its CPU, which an interrupt can meet;
//!   what is missed so is made up for at the next event of the socket.
//! - **Leaves** when it is destroyed. It can have been closed for long before; but what ends a
//!   connection, such as a reset, comes after `→ CLOSE`, and belongs to its peer still.
//! - **Counted** by walking, see `entries`: the kernel frees sockets of which no event says that they end.
//! - **Whose** it is, where forwarders are told apart: whose thread connects or listens; of an accepted one, or one
//!   that was open before, whose thread reads from it or writes to it first.
//! - **Lost**: `map_full` when the kernel has no memory for an entry, or the socket no allowance
//!   (`net.core.optmem_max`); `unreadable` when its addresses are.
//! - **Memory**: 104 bytes and about 250 of the kernel's own per socket, allocated as it opens.

use crate::globals;
use crate::memory::{Object, member, trusted};
use crate::record::lose;
use crate::seeding::port_of;
use crate::{accept_wait, connect, lines, sampling, scope, socket_rtt, threads};
use aya_ebpf::bindings::BPF_SK_STORAGE_GET_F_CREATE;
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use core::ffi::c_void;
use insight_common::kernel::layout::{
    LISTENER, NOBODY, PEER_KEY_BYTES, PEER_OTHER, PEER_PENDING, Role, Socket,
};
use insight_common::kernel::loss::{Loss, Measurement};

/// Sockets in scope.
#[btf_map]
static SOCKETS: SkStorage<Socket> = SkStorage::new();

/// Peer groups by service port and address; port 0 stands for every port. The longest prefix wins.
#[map]
static PEER_RULES: LpmTrie<[u8; PEER_KEY_BYTES], u8> = LpmTrie::with_max_entries(4_096, 0);

/// Whose threads use the connections that are accepted at a port of a network namespace.
#[map]
static PORTS: LruHashMap<u64, u8> = LruHashMap::with_max_entries(1_024, 0);

pub const ESTABLISHED: i32 = 1;
pub const SYN_SENT: i32 = 2;
const SYN_RECV: i32 = 3;
pub const CLOSE: i32 = 7;
pub const LISTEN: i32 = 10;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const TCP: u16 = 6;

/// The entry of a socket, which is an argument of a tracepoint. **None**: not in scope, not TCP, or
/// older than the programs.
#[inline(always)]
pub fn entry(sk: Object) -> Option<&'static mut Socket> {
    // Most sockets of a host are none of ours, and nobody keeps anything with them.
    if trusted::<u64>(sk, globals::OFF_SK_STORAGE.load()) == 0 {
        return None;
    }
    entry_of(sk.cast_mut())
}

/// As [`entry`], of a socket that the kernel vouches for in another way.
#[inline(always)]
pub fn entry_of(sk: *mut c_void) -> Option<&'static mut Socket> {
    stored(sk, core::ptr::null(), 0)
}

/// The entry of a socket; `new` is what to enter if it has none.
#[inline(always)]
fn stored(sk: *mut c_void, new: *const Socket, flags: u32) -> Option<&'static mut Socket> {
    let map = (&raw const SOCKETS).cast_mut().cast();
    // SAFETY: the map holds `Socket`s; the helper takes a socket that the kernel vouches for, and gives
    // nothing for one that is none any more or not yet. An entry stays until the program has ended,
    // whatever becomes of its socket; what another CPU does to it meanwhile is described at `Socket`.
    unsafe { bpf_sk_storage_get(map, sk, new.cast_mut().cast(), u64::from(flags)).cast::<Socket>().as_mut() }
}

/// A closed socket begins to connect or to listen, in the thread that asked for it.
#[inline(always)]
pub fn on_begin(sk: Object, new: i32, now: u64) {
    let role = match new {
        SYN_SENT => Role::Connected as u8,
        LISTEN => LISTENER,
        _ => return,
    };
    if let Some(socket) = open(sk, role, now)
        && globals::FORWARDERS_ONLY.load() != 0
    {
        socket.set_forwarder(threads::forwarder_here(), globals::PEERS.load());
    }
}

/// A socket's state changed otherwise.
#[inline(always)]
pub fn on_state(sk: Object, old: i32, new: i32, now: u64) {
    match (old, new) {
        (LISTEN, SYN_RECV) => drop(open(sk, Role::Accepted as u8, now)),
        (_, ESTABLISHED) => {
            if let Some(socket) = entry(sk) {
                establish(sk, socket, now);
            } else if old == SYN_RECV {
                // The change before was not seen: an interrupt met the program at work on this CPU.
                if let Some(socket) = open(sk, Role::Accepted as u8, now) {
                    establish(sk, socket, now);
                }
            }
        }
        (_, CLOSE) => {
            if let Some(socket) = entry(sk) {
                if old == SYN_SENT {
                    connect::on_failed(sk, socket);
                }
                sampling::on_end(socket);
            }
        }
        _ => {}
    }
}

#[inline(always)]
fn establish(sk: Object, socket: &mut Socket, now: u64) {
    know_peer(sk, socket);
    connect::on_established(socket, now);
    accept_wait::on_established(socket, now);
    socket_rtt::on_peer_known(socket, now);
    lines::socket_known(sk, socket.role, socket.peer);
}

/// Finds the peer group of a connection, unless it is known. It is not where the change to ESTABLISHED was
/// not seen, and its first bytes are.
#[inline(always)]
pub fn know_peer(sk: Object, socket: &mut Socket) {
    if socket.peer == PEER_PENDING && socket.role != LISTENER {
        socket.set_peer(peer_of(sk, socket.role), globals::PEERS.load());
        sampling::on_peer_known(socket);
    }
}

/// A thread of `forwarder`, or of nobody's, reads from a connection or writes to it. The first forwarder has it:
/// which thread opened it is not known of an accepted one, nor of one that is older than the programs.
#[inline(always)]
pub fn on_use(sk: Object, socket: &mut Socket, forwarder: u8, now: u64) {
    if globals::FORWARDERS_ONLY.load() == 0 {
        return;
    }
    if socket.forwarder == NOBODY && forwarder != NOBODY {
        socket.set_forwarder(forwarder, globals::PEERS.load());
        if socket.role == Role::Accepted as u8
            && let Some(port) = port_of(sk)
        {
            // An error says that it is being entered on another CPU.
            let _ = PORTS.insert(port, forwarder, 0);
        }
    }
    socket_rtt::on_used(socket, now);
}

/// Finds the forwarder of a listener that is older than the programs: whose threads use what it accepts.
#[inline(always)]
pub fn know_listener(sk: Object, socket: &mut Socket) {
    if globals::FORWARDERS_ONLY.load() == 0 || socket.forwarder != NOBODY {
        return;
    }
    // SAFETY: an entry holds one byte, and is never freed while a program runs.
    let forwarder = port_of(sk).and_then(|port| PORTS.get_ptr(port)).map(|forwarder| unsafe { *forwarder });
    if let Some(forwarder) = forwarder {
        socket.set_forwarder(forwarder, globals::PEERS.load());
    }
}

/// The group of a socket whose peer group nobody has asked for yet.
#[inline(always)]
pub fn group_of(sk: Object, socket: &Socket) -> u8 {
    socket.group_of(peer_of(sk, socket.role), globals::PEERS.load())
}

/// The socket is gone.
#[inline(always)]
pub fn on_destroy(sk: Object) {
    // The kernel frees the entry with it.
    if let Some(socket) = entry(sk) {
        // Unless its change to CLOSE was seen.
        sampling::on_end(socket);
    }
}

/// A socket opens: its role is a [`Role`], or that of a listener. **None**: it is none of ours, or there is
/// no room.
#[inline(always)]
pub fn open(sk: Object, role: u8, now: u64) -> Option<&'static mut Socket> {
    if !scope::holds(sk) || member::<u16>(sk, globals::OFF_SK_PROTOCOL.load()) != Some(TCP) {
        return None;
    }
    let mut socket = Socket::opening(role);
    connect::on_begin(&mut socket, now);
    match entry(sk) {
        None => enter(sk.cast_mut(), &socket),
        Some(entry) => {
            // It was used before, for another connection.
            sampling::on_end(entry);
            *entry = socket;
            Some(entry)
        }
    }
}

/// Enters a socket of a walk that is not new, unless it has an entry. Gives whether it had none.
/// **None**: it still has none.
#[inline(always)]
pub fn join(sk: *mut c_void, socket: &Socket) -> Option<bool> {
    match entry_of(sk) {
        Some(_) => Some(false),
        None => enter(sk, socket).map(|_| true),
    }
}

/// Enters a socket that has no entry. **None**: there is no room.
#[inline(always)]
fn enter(sk: *mut c_void, socket: &Socket) -> Option<&'static mut Socket> {
    let entered = stored(sk, socket, BPF_SK_STORAGE_GET_F_CREATE);
    if entered.is_none() {
        lose(Measurement::Sockets, Loss::MapFull);
    }
    entered
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
