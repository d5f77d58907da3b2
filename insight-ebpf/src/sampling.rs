//! Of which connections is everything measured, and of which only what happens once?
//!
//! - **Decided** once, when a connection's peer group is known: one in so many, and the first sixteen of
//!   each role and group in any case, so that no group is left without figures. Where nothing walks the
//!   table of sockets, what events miss adds up, and fewer are measured in any case.
//! - **Left out** of the others: round trips, waits, exchanges, and writes of forwarders. Their reads are
//!   still stamped, since what is read on one connection is written on another.
//! - **Never left out**: connecting, resets, retransmissions, drops, and whatever is no connection's.

use crate::{globals, record};
use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use insight_common::kernel::layout::{
    LEAST_SAMPLED, SAMPLED_COUNTERS, Socket, WALKED_SAMPLED, WalkWords, sampled_counter,
};

/// Open sampled connections, by role and peer group. Events move it, and each walk sets it to what is there:
/// not every socket that ends has an event.
#[map]
static SAMPLED: Array<u64> = Array::with_max_entries(SAMPLED_COUNTERS, 0);

/// Whether any connection can be left out. A constant to the verifier.
#[inline(always)]
pub fn is_on() -> bool {
    globals::SAMPLE_ONE_IN.load() > 1
}

/// Whether only what happens once is measured of a connection.
#[inline(always)]
pub fn leaves_out(socket: &Socket) -> bool {
    is_on() && socket.unsampled != 0
}

/// The peer group of a connection is known.
#[inline(always)]
pub fn on_peer_known(socket: &mut Socket) {
    if !is_on() {
        return;
    }
    let Some(open) = sampled_counter(socket.role, socket.peer).and_then(|at| SAMPLED.get_ptr_mut(at)) else {
        return;
    };
    // SAFETY: an array's entries never move. Two CPUs at once sample one connection more. What ends after
    // a walk that had left it out can make it less than none, until the next one.
    let are_few = unsafe { *open }.cast_signed() < LEAST_SAMPLED.cast_signed();
    let is_drawn = || {
        // SAFETY: the helper has no conditions.
        let random = unsafe { bpf_get_prandom_u32() };
        // Without the remainder by 0 no path leads to a panic, which the verifier would refuse.
        random.checked_rem(globals::SAMPLE_ONE_IN.load()) == Some(0)
    };
    if are_few || is_drawn() {
        socket.sampled = 1;
        record::add(open, 1);
    } else {
        socket.unsampled = 1;
    }
}

/// A connection ends: counted once, at whichever of its ends is seen.
#[inline(always)]
pub fn on_end(socket: &mut Socket) {
    if !is_on() || socket.sampled == 0 {
        return;
    }
    socket.sampled = 0;
    if let Some(open) = sampled_counter(socket.role, socket.peer).and_then(|at| SAMPLED.get_ptr_mut(at)) {
        record::add(open, u64::MAX);
    }
}

/// A walk has counted the open ones. What began or ended meanwhile may be counted or not, until the next.
#[inline(always)]
pub fn on_counted(counted: &WalkWords) {
    if !is_on() {
        return;
    }
    let mut at = 0;
    while at < SAMPLED_COUNTERS {
        if let Some(open) = SAMPLED.get_ptr_mut(at) {
            // SAFETY: as above; one aligned store.
            unsafe { open.write_volatile(counted[WALKED_SAMPLED + at as usize]) };
        }
        at += 1;
    }
}
