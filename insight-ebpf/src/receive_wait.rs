//! How long data waits in a socket until the application reads it.
//!
//! - **Measures** `sk_data_ready` (oldest unread byte) → `tcp_rcv_space_adjust` with bytes consumed.
//! - **Hooks**: `sk_data_ready`, since 6.3:
//!   <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c#L5237>; `tcp_rcv_space_adjust`, since 4.15, which
//!   also sees splice and io_uring: <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c#L725>.
//! - **Whose**: where forwarders are configured, reads by their threads only, so that an agent or
//!   another process on the node is not in the hop's figure; elsewhere everybody's. The hook runs
//!   in the thread that reads. Reads by others end a wait just as well, uncounted.
//! - **Filtered**: listeners; peeks (`copied_seq` did not move); a lone FIN; HTTP/2 housekeeping, by its
//!   sizes: what comes behind it while it is unread has waited since its own arrival.
//! - **Kept** in the socket's entry, until all is read.
//! - **Lost**: `unstamped` (data-ready replaced by kTLS or a sockmap), `unreadable`.
//! - Delay before data-ready (interrupt, softirq, GRO) is not in it.

use crate::globals;
use crate::record::{duration_of_one_program, lose};
use insight_common::kernel::layout::{Distribution, Role, Socket};
use insight_common::kernel::loss::{Loss, Measurement};

/// The application read, in a thread that counts or not, what had waited for so long (0: for nothing that counts), or what was not seen
/// to arrive.
#[inline(always)]
pub fn on_read(counts: bool, socket: &Socket, waited_ns: u64, is_unstamped: bool) {
    if !globals::is_on(Measurement::ReceiveWait) || (waited_ns == 0 && !is_unstamped) || !counts {
        return;
    }
    if is_unstamped {
        lose(Measurement::ReceiveWait, Loss::Unstamped);
        return;
    }
    let accepted = socket.role == Role::Accepted as u8;
    let distribution =
        if accepted { Distribution::ReceiveWaitAccepted } else { Distribution::ReceiveWaitConnected };
    duration_of_one_program(distribution, socket.group, waited_ns);
}
