//! How long data waits in a socket until the application reads it.
//!
//! - **Measures** `sk_data_ready` (oldest unread byte) → `tcp_rcv_space_adjust` with bytes consumed.
//! - **Hooks**: `sk_data_ready`, since 6.3:
//!   <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c#L5237>; `tcp_rcv_space_adjust`, since 4.15, which
//!   also sees splice and io_uring: <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c#L725>.
//! - **Whose**: where forwarders are configured, reads by their threads only, so that an agent or
//!   another process on the node is not in the hop's figure; elsewhere everybody's. The hook runs
//!   in the thread that reads. Reads by others end a wait just as well, uncounted.
//! - **Filtered**: listeners; peeks (`copied_seq` did not move); a lone FIN.
//! - **Kept** in the socket's entry, until all is read.
//! - **Lost**: `unstamped` (data-ready replaced by kTLS or a sockmap), `unreadable`.
//! - Delay before data-ready (interrupt, softirq, GRO) is not in it.

use crate::memory::{Object, member};
use crate::record::{duration, lose};
use crate::{forwarders, globals};
use insight_common::kernel::layout::{Distribution, Role, Socket};
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::receive::{self, Read};

/// `rcv_nxt`, `copied_seq` and state of a TCP socket.
pub struct Sequence {
    /// The next byte expected from the network.
    pub rcv_nxt: u32,
    /// The next byte that the application will read.
    pub copied: u32,
    /// TCP's state.
    pub state: u8,
}

impl Sequence {
    /// **None**: unreadable.
    #[inline(always)]
    pub fn of(sk: Object) -> Option<Self> {
        Some(Self {
            rcv_nxt: member(sk, globals::OFF_TCP_RCV_NXT.load())?,
            copied: member(sk, globals::OFF_TCP_COPIED_SEQ.load())?,
            state: member(sk, globals::OFF_SKC_STATE.load())?,
        })
    }
}

/// The application may have read.
#[inline(always)]
pub fn on_read(sk: Object, socket: &mut Socket, now: u64) {
    if globals::ON_RECEIVE_WAIT.load() == 0 {
        return;
    }
    let Some(sequence) = Sequence::of(sk) else {
        lose(Measurement::ReceiveWait, Loss::Unreadable);
        return;
    };
    let read = receive::read(socket, now, sequence.rcv_nxt, sequence.copied, sequence.state);
    // Asked last: most calls of a busy reader come to nothing.
    if read == Read::Nothing || !is_counted() {
        return;
    }
    match read {
        Read::Nothing => {}
        Read::Unstamped => lose(Measurement::ReceiveWait, Loss::Unstamped),
        Read::Waited(ns) => {
            let accepted = socket.role == Role::Accepted as u8;
            let distribution =
                if accepted { Distribution::ReceiveWaitAccepted } else { Distribution::ReceiveWaitConnected };
            duration(Measurement::ReceiveWait, distribution, socket.peer, ns);
        }
    }
}

/// Whether the current thread's reads are in the figures.
#[inline(always)]
fn is_counted() -> bool {
    globals::FORWARDERS_ONLY.load() == 0 || forwarders::current_thread().is_some()
}
