//! What the network protocols counted: the fields that node_exporter shows by default.

use super::super::{Kind, Series};
use super::single;

/// What the families' names begin with; the rest is the figure's name.
pub const PREFIX: &str = "node_netstat_";

macro_rules! row {
    ($figure:literal) => {
        single(
            concat!("node_netstat_", $figure),
            concat!("The network protocols' statistic ", $figure, "."),
            Kind::Untyped,
        )
    };
}

/// This file's families. Untyped as in node_exporter, which does not tell counters from gauges here.
pub const SERIES: &[Series] = &[
    row!("Icmp6_InErrors"),
    row!("Icmp6_InMsgs"),
    row!("Icmp6_OutMsgs"),
    row!("Icmp_InErrors"),
    row!("Icmp_InMsgs"),
    row!("Icmp_OutMsgs"),
    row!("Ip6_InOctets"),
    row!("Ip6_OutOctets"),
    row!("IpExt_InOctets"),
    row!("IpExt_OutOctets"),
    row!("Ip_Forwarding"),
    row!("TcpExt_ListenDrops"),
    row!("TcpExt_ListenOverflows"),
    row!("TcpExt_SyncookiesFailed"),
    row!("TcpExt_SyncookiesRecv"),
    row!("TcpExt_SyncookiesSent"),
    row!("TcpExt_TCPSynRetrans"),
    row!("TcpExt_TCPTimeouts"),
    row!("Tcp_ActiveOpens"),
    row!("Tcp_CurrEstab"),
    row!("Tcp_InErrs"),
    row!("Tcp_InSegs"),
    row!("Tcp_OutRsts"),
    row!("Tcp_OutSegs"),
    row!("Tcp_PassiveOpens"),
    row!("Tcp_RetransSegs"),
    row!("Udp6_InDatagrams"),
    row!("Udp6_InErrors"),
    row!("Udp6_NoPorts"),
    row!("Udp6_OutDatagrams"),
    row!("Udp6_RcvbufErrors"),
    row!("Udp6_SndbufErrors"),
    row!("UdpLite6_InErrors"),
    row!("UdpLite_InErrors"),
    row!("Udp_InDatagrams"),
    row!("Udp_InErrors"),
    row!("Udp_NoPorts"),
    row!("Udp_OutDatagrams"),
    row!("Udp_RcvbufErrors"),
    row!("Udp_SndbufErrors"),
];
