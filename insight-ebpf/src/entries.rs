//! How many sockets does the table hold, now?
//!
//! - **Walks** all entries each time the agent asks: `iter/bpf_sk_storage_map`, since 5.9. Sums of events
//!   would not do: the kernel frees sockets of which no event says that they end.
//! - **Counts** sockets that are not closed, by role; and those that are sampled, by role and peer group. An
//!   entry whose socket is closed stays until the kernel frees it, and is none.
//! - **Meanwhile** sockets open and close: those of the duration of the walk are counted or not.
//! - **Reads** plain members of a socket that may be freed meanwhile, and given to another connection: that is
//!   a socket as well.

use crate::memory::{Object, trusted};
use crate::{globals, sampling, sockets};
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use insight_common::kernel::layout::{
    Socket, WALK_WORDS, WALKED_SAMPLED, WalkWords, sampled_counter, walked_socket,
};

/// What this walk has counted. The agent sets it to zeros before, and makes one walk at a time.
#[map]
static WALKED: Array<WalkWords> = Array::with_max_entries(1, 0);

/// An entry and its socket.
#[inline(always)]
pub fn on_entry(sk: Object, socket: &Socket) {
    let state: u8 = trusted(sk, globals::OFF_SKC_STATE.load());
    if i32::from(state) == sockets::CLOSE {
        return;
    }
    let Some(words) = WALKED.get_ptr_mut(0) else { return };
    if let Some(at) = walked_socket(socket.role) {
        count(words, at);
    }
    if socket.sampled != 0
        && let Some(at) = sampled_counter(socket.role, socket.peer)
    {
        count(words, WALKED_SAMPLED + at as usize);
    }
}

/// All entries have been walked.
#[inline(always)]
pub fn on_end() {
    if let Some(words) = WALKED.get_ptr_mut(0) {
        // SAFETY: an array's entries never move, and nobody else walks.
        sampling::on_counted(unsafe { &*words });
    }
}

#[inline(always)]
fn count(words: *mut WalkWords, at: usize) {
    // Again where the verifier sees it, which may have lost what it knew of the number.
    let at = core::hint::black_box(at);
    if at < WALK_WORDS {
        // SAFETY: within the words, as was just compared; nobody else walks.
        unsafe { *words.cast::<u64>().add(at) += 1 };
    }
}
