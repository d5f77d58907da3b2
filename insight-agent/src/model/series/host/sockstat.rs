//! How many sockets there are, and what memory they hold.

use super::super::{Kind, Series};
use super::single;

/// What the families' names begin with; the rest is the figure's name.
pub const PREFIX: &str = "node_sockstat_";

macro_rules! row {
    ($figure:literal) => {
        single(
            concat!("node_sockstat_", $figure),
            concat!("Sockets by protocol and state, memory in pages or bytes: ", $figure, "."),
            Kind::Gauge,
        )
    };
}

/// This file's families.
pub const SERIES: &[Series] = &[
    row!("FRAG6_inuse"),
    row!("FRAG6_memory"),
    row!("FRAG_inuse"),
    row!("FRAG_memory"),
    row!("RAW6_inuse"),
    row!("RAW_inuse"),
    row!("TCP6_inuse"),
    row!("TCP_alloc"),
    row!("TCP_inuse"),
    row!("TCP_mem"),
    row!("TCP_mem_bytes"),
    row!("TCP_orphan"),
    row!("TCP_tw"),
    row!("UDP6_inuse"),
    row!("UDPLITE6_inuse"),
    row!("UDPLITE_inuse"),
    row!("UDP_inuse"),
    row!("UDP_mem"),
    row!("UDP_mem_bytes"),
    row!("sockets_used"),
];
