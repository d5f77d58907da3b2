//! `sock_ops`: TCP's callbacks for the sockets of a cgroup. Since 4.13, round trips since 5.3.

use crate::socket_rtt;
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;

#[sock_ops]
fn tcp_event(ctx: SockOpsContext) -> u32 {
    socket_rtt::on_event(&ctx);
    // Anything else would be an answer to the kernel, in place of other agents' ones.
    1
}
