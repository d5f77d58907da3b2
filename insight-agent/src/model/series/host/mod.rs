//! Series of the host: node_exporter's names where it has one, so that dashboards keep working.
//!
//! Names, kinds and labels are those of node_exporter 1.5 with its default collectors, whose
//! figures the tests compare with ours. One file per source.

pub mod cgroup;
pub mod conntrack;
pub mod cpu;
pub mod forwarder;
pub mod memory;
pub mod netstat;
pub mod network;
pub mod pressure;
pub mod sockstat;
pub mod system;

use super::{Kind, Label, Series, Values};

/// Every family of the host.
pub const ALL: [&[Series]; 12] = [
    cpu::SERIES,
    system::SERIES,
    pressure::SERIES,
    memory::SERIES,
    network::RECEIVE_ROWS,
    network::TRANSMIT_ROWS,
    network::SERIES,
    netstat::SERIES,
    sockstat::SERIES,
    conntrack::SERIES,
    forwarder::SERIES,
    cgroup::SERIES,
];

/// A CPU by its number.
const CPU: Label = Label { name: "cpu", values: Values::Host("the numbers of its CPUs") };

/// A family of one series.
const fn single(name: &'static str, help: &'static str, kind: Kind) -> Series {
    Series { name, help, kind, labels: &[], bound: "1" }
}
