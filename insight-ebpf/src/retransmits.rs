//! Segments that are sent once more, and how long TCP recovers from a loss.
//!
//! - **Counts** by what they are sent for: `syn`, while connecting; `synack`, to answer a
//!   connection; `tlp`, the last segment again, to provoke an acknowledgement; `fast`, because
//!   later ones arrived; `rto`, because the timer ran out. Large segments are sent in parts by the network
//!   card: `node_netstat_Tcp_RetransSegs` counts those.
//! - **Measures** recovery: from the first loss until all that was under way then is acknowledged.
//! - **Hooks**: `tcp_retransmit_skb`, since 4.16, with the outcome since 6.17; `tcp_retransmit_synack`, since
//!   4.16; `tcp_cong_state_set`, since 5.19:
//!   <https://github.com/torvalds/linux/blob/v6.12/include/net/tcp.h#L1203>. Nobody else needs them, so they are here.
//! - **Kept** in the socket's entry. One that was open before is taken for one without losses.
//! - **Lost**: `unreadable`.

use super::hooks::now;
use crate::memory::Object;
use crate::record::{count, duration_of_one_program};
use crate::{globals, sockets};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::layout::{Counter, PEER_PENDING, Role};

#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn retransmit(ctx: BtfTracePointContext) -> i32 {
    // Since 6.17 it tells of attempts that failed, too.
    if globals::ARGS_RETRANSMIT.load() > 2 && ctx.arg::<i32>(2) != 0 {
        return 0;
    }
    let sk: Object = ctx.arg(0);
    let Some(socket) = sockets::entry(sk) else { return 0 };
    // Before it is established no peer is known, and only a SYN is under way.
    if socket.group == PEER_PENDING {
        count(Counter::RetransmitSyn, sockets::group_of(sk, socket));
    } else {
        count(socket.recovery.retransmit(), socket.group);
    }
    0
}

#[btf_tracepoint(function = "tcp_retransmit_synack")]
fn retransmit_synack(ctx: BtfTracePointContext) -> i32 {
    let (listener, request): (Object, Object) = (ctx.arg(0), ctx.arg(1));
    if let Some(socket) = sockets::entry(listener) {
        sockets::know_listener(listener, socket);
        // A request begins like a socket, with its addresses.
        let peer = sockets::peer_of(request, Role::Accepted as u8);
        count(Counter::RetransmitSynack, socket.group_of(peer, globals::PEERS.load()));
    }
    0
}

#[btf_tracepoint(function = "tcp_cong_state_set")]
fn congestion(ctx: BtfTracePointContext) -> i32 {
    let sk: Object = ctx.arg(0);
    let Some(socket) = sockets::entry(sk) else { return 0 };
    if let Some((distribution, ns)) = socket.recovery.enter(ctx.arg(1), now()) {
        duration_of_one_program(distribution, socket.group, ns);
    }
    0
}
