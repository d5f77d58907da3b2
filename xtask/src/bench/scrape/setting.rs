//! The two agents as configuration.

use anyhow::{Context, Result};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Series of one white-box probe on both kinds of connection: two histograms of 33 lines, two of
/// 13, nine phases of two, counters, and its ledger's gauges.
const SERIES_PER_PROBE: u32 = 136;

/// Length of the prober's windows. **Unit**: s.
pub const WINDOW_S: u64 = 10;

/// The probe that is measured while the page is scraped.
pub const MEASURED: &str = "measured";

/// What its receiver adds to each answer. **Unit**: ms.
pub const DELAY_MS: u64 = 10;

/// Between two of its samples: 150 in a quarter of three seconds. **Unit**: ms.
const INTERVAL_MS: u64 = 20;

/// How many probes make so many series.
pub fn probes_for(series: u32) -> u32 {
    (series / SERIES_PER_PROBE).max(1)
}

/// Where everything listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The prober's metrics, which are scraped.
    pub metrics: SocketAddr,
    /// The prober's API.
    pub admin: SocketAddr,
    /// The prober's receiver, which nobody calls.
    pub grpc: SocketAddr,
    /// The receiver that is probed.
    pub receiver: SocketAddr,
    /// Its metrics.
    pub receiver_metrics: SocketAddr,
    /// Its API.
    pub receiver_admin: SocketAddr,
}

impl Addresses {
    /// Ports that are free now: all are held at once, then let go.
    ///
    /// # Errors
    /// Loopback has none, or is not there.
    pub fn free() -> Result<Self> {
        let hold = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port on 127.0.0.1");
        let held = [hold()?, hold()?, hold()?, hold()?, hold()?, hold()?];
        let address = |at: usize| held[at].local_addr().context("read the address of a listener");
        Ok(Self {
            metrics: address(0)?,
            admin: address(1)?,
            grpc: address(2)?,
            receiver: address(3)?,
            receiver_metrics: address(4)?,
            receiver_admin: address(5)?,
        })
    }
}

/// The agent that answers.
pub fn receiver(addresses: &Addresses) -> String {
    let Addresses { receiver, receiver_metrics, receiver_admin, .. } = addresses;
    format!(
        "[agent]\nregion = \"sg\"\nname = \"receiver\"\nlog = \"warn\"\n[metrics]\nlisten = \"{receiver_metrics}\"\n\
         [admin]\nlisten = \"{receiver_admin}\"\n[grpc]\nlisten = \"{receiver}\"\n"
    )
}

/// The agent that probes and is scraped: `probes` that make series and hardly any load, and the one
/// that is measured.
pub fn prober(addresses: &Addresses, probes: u32) -> String {
    let Addresses { metrics, admin, grpc, receiver, .. } = addresses;
    let mut text = format!(
        "[agent]\nregion = \"eu\"\nname = \"prober\"\nlog = \"warn\"\n[metrics]\nlisten = \"{metrics}\"\n\
         [admin]\nlisten = \"{admin}\"\n[grpc]\nlisten = \"{grpc}\"\n[probing]\nwindow = \"{WINDOW_S}s\"\n\
         max_in_flight = 200\n"
    );
    let mut probe = |name: &str, more: String| {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "[[probe]]\nname = \"{name}\"\ntarget = \"sg\"\nmode = \"white-box\"\naddress = \"{receiver}\"\n{more}"
        );
    };
    for number in 1..=probes {
        probe(&format!("filler-{number}"), format!("interval = \"{}s\"\n", WINDOW_S / 2));
    }
    // So that all samples that can be under way have a place.
    let patience = "deadline = \"2s\"\ndrain = \"1s\"\n";
    let connections = "connections = [\"reused\"]";
    probe(
        MEASURED,
        format!("delay = \"{DELAY_MS}ms\"\ninterval = \"{INTERVAL_MS}ms\"\n{connections}\n{patience}"),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_probes_follows_from_the_series() {
        assert_eq!(probes_for(10_000), 73);
        assert_eq!(probes_for(1), 1);
    }

    #[test]
    fn both_configurations_are_toml_and_every_probe_is_there() {
        let addresses = Addresses::free().unwrap();
        let prober: toml::Table = prober(&addresses, 24).parse().unwrap();
        let probes = prober["probe"].as_array().unwrap();
        assert_eq!(probes.len(), 25);
        assert_eq!(probes[24]["name"].as_str(), Some(MEASURED));
        assert!(
            probes.iter().all(|probe| probe["address"].as_str() == Some(&addresses.receiver.to_string()))
        );
        let receiver: toml::Table = receiver(&addresses).parse().unwrap();
        assert_eq!(receiver["grpc"]["listen"].as_str(), Some(addresses.receiver.to_string().as_str()));
    }
}
