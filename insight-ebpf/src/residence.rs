//! How long a forwarder holds bytes: read on one side → written on the other, by the same thread
//! in the same turn of its event loop.
//!
//! - **Measures** `tcp_rcv_space_adjust`, in a call that reads, since 4.15, shared with `receive_wait`, →
//!   `sock_send_length`, when the first call that wrote afterwards returns, since 6.3:
//!   <https://github.com/torvalds/linux/blob/v6.12/net/socket.c#L726>. It is a distribution over
//!   bursts of bytes, not over requests. The wait before the read is `receive_wait`.
//! - **Filtered**: threads of other processes than the forwarders; peeks; HTTP/2 housekeeping, and
//!   what a new downstream connection is greeted with.
//! - **Kept** with the thread, overwritten by its next read, ended when it goes to sleep
//!   (`sched_switch`, interruptible): a pair never spans a wait for something else.
//! - **Counted** by direction: `paired`, or `no_read` (a write after a sleep), `same_socket`,
//!   `same_role`, which the reader reports as losses too. Where few writes are paired, those that
//!   are may be pairs by chance: see `insight_agent::model::kernel::paired_share`.
//! - **Not seen**: reads of kTLS and of sockmaps, which other threads make for the reader: its writes are
//!   `no_read`.
//! - **Lost** besides: `map_full`, see `threads`.

use crate::globals;
use crate::memory::Object;
use crate::record::{duration_of_one_program, pair};
use insight_common::kernel::layout::{Distribution, Role, Socket};
use insight_common::kernel::loss::Measurement;
use insight_common::kernel::thread::{Running, Work};
use insight_common::kernel::turn::{Direction, PairOutcome, Turn};

/// `TASK_INTERRUPTIBLE` alone, as an event loop sleeps. A stopped, preempted or throttled thread
/// and one that waits for the disk are in other states, and stay in their turn.
const INTERRUPTIBLE: u32 = 1;

/// A thread read. What was not seen to arrive may have been read by any thread.
#[inline(always)]
pub fn on_read(running: Option<&mut Running>, sk: Object, socket: &Socket, is_unstamped: bool, now: u64) {
    if !globals::is_on(Measurement::Residence) || is_unstamped {
        return;
    }
    if let Some(running) = running {
        let (role, group) = (socket.role, socket.group);
        running.work.turn = Turn { read_ns: now, socket: sk as u64, role, group, unused: [0; 6] };
    }
}

/// Whether a write goes on with the burst of the one before: HEADERS and DATA are often two.
#[inline(always)]
pub fn goes_on(writer: Option<&Running>, socket: &Socket) -> bool {
    globals::is_on(Measurement::Residence) && writer.is_some_and(|writer| writer.work.burst() == socket.burst)
}

/// A thread began a burst of writes.
#[inline(always)]
pub fn on_send(writer: Option<&mut Running>, sk: Object, socket: &mut Socket, now: u64) {
    if !globals::is_on(Measurement::Residence) {
        return;
    }
    let Some(Running { work, forwarder, .. }) = writer else { return };
    socket.burst = work.burst();
    let direction = Direction::of_write(socket.role);
    let outcome = work.turn.written(sk as u64, socket.role);
    if outcome == PairOutcome::SameSocket && is_greeting(socket) {
        return;
    }
    if outcome != PairOutcome::Paired {
        pair(*forwarder as u8, direction, outcome);
        return;
    }
    // The group is the upstream's either way. One read may feed several sockets: it stays.
    let (distribution, group) = match direction {
        Direction::Up => (Distribution::ResidenceUp, socket.group),
        Direction::Down => (Distribution::ResidenceDown, work.turn.group),
    };
    duration_of_one_program(distribution, group, work.turn.took_ns(now));
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
pub fn on_leave(work: &mut Work, state: u32) {
    if globals::is_on(Measurement::Residence) && state & INTERRUPTIBLE != 0 {
        work.sleep();
    }
}
