//! What the network devices carried, and what the CPUs did with it.

use super::super::{Kind, Label, Series, Values};
use super::CPU;

const DEVICE: Label =
    Label { name: "device", values: Values::Host("the network devices of the agent's namespace") };

macro_rules! device {
    ($figure:literal, $help:literal) => {
        Series {
            name: concat!("node_network_", $figure, "_total"),
            help: $help,
            kind: Kind::Counter,
            labels: &[DEVICE],
            bound: "network devices",
        }
    };
}

/// What was received, in the order of `/proc/net/dev`.
pub const RECEIVE_ROWS: &[Series] = &[
    device!("receive_bytes", "Bytes received."),
    device!("receive_packets", "Packets received."),
    device!("receive_errs", "Packets received with an error."),
    device!("receive_drop", "Packets received and dropped for lack of room."),
    device!("receive_fifo", "Packets lost because the device's queue was full."),
    device!("receive_frame", "Packets received with a wrong length, checksum or frame."),
    device!("receive_compressed", "Compressed packets received."),
    device!("receive_multicast", "Multicast packets received."),
];

/// What was sent, in the order of `/proc/net/dev`.
pub const TRANSMIT_ROWS: &[Series] = &[
    device!("transmit_bytes", "Bytes sent."),
    device!("transmit_packets", "Packets sent."),
    device!("transmit_errs", "Packets that could not be sent."),
    device!("transmit_drop", "Packets dropped instead of sent."),
    device!("transmit_fifo", "Packets lost because the device's queue ran empty or full."),
    device!("transmit_colls", "Collisions while sending."),
    device!("transmit_carrier", "Packets lost for want of a carrier."),
    device!("transmit_compressed", "Compressed packets sent."),
];

/// What an inactive device of a bond received.
pub const RECEIVE_NOHANDLER: Series =
    device!("receive_nohandler", "Packets received by an inactive device of a bond.");

macro_rules! softnet {
    ($figure:literal, $help:literal) => {
        Series {
            name: concat!("node_softnet_", $figure, "_total"),
            help: $help,
            kind: Kind::Counter,
            labels: &[CPU],
            bound: "CPUs",
        }
    };
}

/// Packets a CPU processed.
pub const PROCESSED: Series = softnet!("processed", "Packets that a CPU has processed.");

/// Packets a CPU dropped.
pub const DROPPED: Series = softnet!("dropped", "Packets dropped because a CPU's backlog was full.");

/// Times a CPU ran out of its budget.
pub const SQUEEZED: Series =
    softnet!("times_squeezed", "Times that a CPU stopped processing packets with some left.");

/// What concerns a CPU, and the rest.
pub const SERIES: &[Series] = &[RECEIVE_NOHANDLER, PROCESSED, DROPPED, SQUEEZED];
