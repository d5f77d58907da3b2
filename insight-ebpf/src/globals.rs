//! What the loader writes into `.rodata` before loading: the running kernel's offsets, and which
//! measurements are on. The verifier sees constants and drops every branch that is off.

use aya_ebpf::Global;
use core::arch::asm;
use insight_common::kernel::exchange::Control;
use insight_common::kernel::layout::{Distribution, ROWS, Row};
use insight_common::kernel::measurement::Measurement;

/// Declares globals that start at 0: an offset that nobody set reads the wrong place only while
/// the switch beside it is off.
macro_rules! globals {
    ($($(#[$doc:meta])* $name:ident: $kind:ty;)*) => {
        $($(#[$doc])* #[unsafe(no_mangle)] pub static $name: Global<$kind> = Global::new(0);)*
    };
}

globals! {
    /// Which measurements are on: bit `n` is of the measurement with that number.
    ON: u64;

    /// Not 0: forwarders are configured. Their sockets are told apart, and `receive_wait` counts reads of theirs
    /// only.
    FORWARDERS_ONLY: u8;

    /// Only sockets of the listed network namespaces.
    SCOPE_NETNS: u8;
    /// Only sockets below this cgroup. 0: of any.
    SCOPE_CGROUP: u64;
    /// How deep that cgroup lies below the root.
    SCOPE_CGROUP_LEVEL: u32;

    /// Peer groups, the one for everybody else included.
    PEERS: u32;
    /// Groups of connections: peer groups of nobody, and of each forwarder.
    GROUPS: u32;
    /// Banks of histograms.
    BANKS: u32;
    /// Histograms in each bank.
    PER_BANK: u32;
    /// Not 0: two programs may add to one bank at the same time.
    SHARED_BANKS: u8;
    /// Exchanges of a new connection that are left out: 1, or 2 where TLS comes first.
    SKIP_EXCHANGES: u16;
    /// Not 0: sizes of HTTP/2 housekeeping are no request, no answer and no wait.
    HTTP2: u8;

    /// One in so many connections is measured in full. 0 and 1: all.
    SAMPLE_ONE_IN: u32;

    /// How many arguments `tcp_retransmit_skb` has.
    ARGS_RETRANSMIT: u32;

    /// `sock_common.skc_family`.
    OFF_SKC_FAMILY: u32;
    /// `sock_common.skc_state`.
    OFF_SKC_STATE: u32;
    /// `sock_common.skc_num`: the local port, host order.
    OFF_SKC_NUM: u32;
    /// `sock_common.skc_dport`: the remote port, network order.
    OFF_SKC_DPORT: u32;
    /// `sock_common.skc_daddr`.
    OFF_SKC_DADDR: u32;
    /// `sock_common.skc_v6_daddr`.
    OFF_SKC_V6_DADDR: u32;
    /// `sock_common.skc_net`.
    OFF_SKC_NET: u32;
    /// `sock.sk_bpf_storage`: what programs keep with a socket.
    OFF_SK_STORAGE: u32;
    /// `sock.sk_protocol`.
    OFF_SK_PROTOCOL: u32;
    /// `net.ns.inum`.
    OFF_NET_INUM: u32;
    /// `sock.sk_cgrp_data.cgroup`.
    OFF_SK_CGROUP: u32;
    /// `cgroup.level`.
    OFF_CGROUP_LEVEL: u32;
    /// `cgroup.ancestors`.
    OFF_CGROUP_ANCESTORS: u32;
    /// `cgroup.kn`.
    OFF_CGROUP_KN: u32;
    /// `kernfs_node.id`.
    OFF_KERNFS_ID: u32;
    /// `sock.sk_err`.
    OFF_SK_ERR: u32;
    /// `sock.sk_ack_backlog`: connections that wait to be accepted.
    OFF_SK_ACK_BACKLOG: u32;
    /// `sock.sk_max_ack_backlog`.
    OFF_SK_MAX_ACK_BACKLOG: u32;
    /// `sock.sk_socket`.
    OFF_SK_SOCKET: u32;
    /// `socket.flags`.
    OFF_SOCKET_FLAGS: u32;
    /// `tcp_sock.rcv_nxt`.
    OFF_TCP_RCV_NXT: u32;
    /// `tcp_sock.copied_seq`.
    OFF_TCP_COPIED_SEQ: u32;
    /// `tcp_sock.tcp_clock_cache`: when a segment was last taken up or let go. 0: not to be had.
    OFF_TCP_CLOCK: u32;
    /// `tcp_sock.write_seq`: the next byte that the application will write.
    OFF_TCP_WRITE_SEQ: u32;
    /// `tcp_sock.snd_nxt`: the next byte to be sent.
    OFF_TCP_SND_NXT: u32;
    /// `sk_buff.dev`.
    OFF_SKB_DEV: u32;
    /// `sk_buff.sk`.
    OFF_SKB_SK: u32;
    /// `net_device.nd_net`.
    OFF_DEV_NET: u32;
    /// Arguments of `kfree_skb`.
    KFREE_SKB_ARGUMENTS: u32;
    /// `net_device.ifindex`.
    OFF_DEV_INDEX: u32;
    /// `task_struct.pid`: of the thread.
    OFF_TASK_PID: u32;
    /// `task_struct.tgid`: of the process.
    OFF_TASK_TGID: u32;
    /// `task_struct.__state`.
    OFF_TASK_STATE: u32;
}

/// Where each distribution's histograms lie in a bank: a [`Row`] by the distribution's number.
#[unsafe(no_mangle)]
pub static HISTOGRAM_ROWS: [Global<u32>; ROWS] = [const { Global::new(0) }; ROWS];

/// Where a distribution's histograms lie.
#[inline(always)]
pub fn row(distribution: Distribution) -> Row {
    let mut at = distribution as usize;
    // SAFETY: it masks a number. The compiler, which knows its range, would leave a check out that the
    // verifier misses where the distribution is no constant; where it is one, so is what is loaded.
    unsafe { asm!("{0} &= {1}", inout(reg) at, const ROWS - 1) };
    HISTOGRAM_ROWS.get(at).map_or(Row::NONE, |word| Row::of(word.load()))
}

/// Which sizes are HTTP/2 housekeeping.
#[inline(always)]
pub fn control() -> Control {
    Control::of(HTTP2.load() != 0, SKIP_EXCHANGES.load())
}

/// Whether a measurement is on. A constant to the verifier.
#[inline(always)]
pub fn is_on(measurement: Measurement) -> bool {
    ON.load() & (1 << measurement as u64) != 0
}
