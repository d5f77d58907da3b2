//! How long a forwarder holds bytes: read on one side → written on the other, by the same thread
//! in the same turn of its event loop.
//!
//! - **Measures** `sock_recv_length` → `sock_send_length`, both since 6.3:
//!   <https://github.com/torvalds/linux/blob/v6.12/net/socket.c#L1045>. It is a distribution over
//!   bursts of bytes, not over requests. The wait before the read is `receive_wait`.
//! - **Filtered**: threads of other processes than the forwarders; peeks; HTTP/2 housekeeping, and
//!   what a new downstream connection is greeted with.
//! - **Kept** per thread, overwritten by its next read, freed when it goes to sleep
//!   (`sched_switch`, interruptible) or exits: a pair never spans a wait for something else.
//! - **Counted** by direction: `paired`, or `no_read` (a write after a sleep), `same_socket`,
//!   `same_role`, which the reader reports as losses too. Where few writes are paired, those that
//!   are may be pairs by chance: see `insight_agent::model::kernel::paired_share`.
//! - **Lost** besides: `map_full`.
//! - **Memory**: 8,192 threads of 4 + 24 bytes: about 0.7 MB.

use crate::record::{duration, lose, pair};
use crate::{forwarders, globals};
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use insight_common::kernel::layout::{Distribution, Role, Socket};
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::turn::{Direction, PairOutcome, Turn};

/// What each thread of a forwarder threads last read.
#[map]
static TURNS: HashMap<u32, Turn> = HashMap::with_max_entries(8_192, 0);

/// `MSG_PEEK`: the bytes stay, and are reported all the same.
const PEEK: i32 = 2;

/// `TASK_INTERRUPTIBLE` alone, as an event loop sleeps. A stopped, preempted or throttled thread
/// and one that waits for the disk are in other states, and stay in their turn.
const INTERRUPTIBLE: u32 = 1;

/// A thread read.
#[inline(always)]
pub fn on_receive(sk: u64, socket: &Socket, flags: i32, now: u64) {
    if !globals::is_on(Measurement::Residence) || flags & PEEK != 0 {
        return;
    }
    let Some(thread) = forwarders::current_thread() else { return };
    let turn = Turn { read_ns: now, socket: sk, role: socket.role, peer: socket.peer, unused: [0; 6] };
    if TURNS.insert(thread, turn, 0).is_err() {
        lose(Measurement::Residence, Loss::MapFull);
    }
}

/// A thread wrote.
#[inline(always)]
pub fn on_send(sk: u64, socket: &Socket, now: u64) {
    if !globals::is_on(Measurement::Residence) {
        return;
    }
    let Some(thread) = forwarders::current_thread() else { return };
    let direction = Direction::of_write(socket.role);
    let Some(turn) = TURNS.get_ptr(thread) else {
        pair(direction, PairOutcome::NoRead);
        return;
    };
    // SAFETY: entries are preallocated and never move; only this thread writes to its own.
    let turn = unsafe { &*turn };
    let outcome = turn.written(sk, socket.role);
    if outcome == PairOutcome::SameSocket && is_greeting(socket) {
        return;
    }
    pair(direction, outcome);
    if outcome != PairOutcome::Paired {
        return;
    }
    // The group is the upstream's either way. One read may feed several sockets: it stays.
    let (distribution, peer) = match direction {
        Direction::Up => (Distribution::ResidenceUp, socket.peer),
        Direction::Down => (Distribution::ResidenceDown, turn.peer),
    };
    duration(distribution, peer, turn.took_ns(now));
}

/// Whether a write on this socket is its connection's own opening, SETTINGS or a TLS handshake, and
/// nothing that was forwarded. `turnaround` counts exchanges of accepted sockets.
#[inline(always)]
fn is_greeting(socket: &Socket) -> bool {
    globals::is_on(Measurement::Turnaround)
        && socket.role == Role::Accepted as u8
        && socket.exchange.is_opening(globals::SKIP_EXCHANGES.load())
}

/// A thread leaves the CPU in `state`.
#[inline(always)]
pub fn on_leave(thread: u32, state: u32) {
    if state & INTERRUPTIBLE != 0 {
        on_exit(thread);
    }
}

/// A thread ends.
#[inline(always)]
pub fn on_exit(thread: u32) {
    // An error says that it had read nothing.
    let _ = TURNS.remove(thread);
}
