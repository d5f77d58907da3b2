//! What a relay can be told, and what it tells.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// Longest settable delay in microseconds: a minute, beyond every deadline in the lab.
const MAX_DELAY_US: u64 = 60_000_000;

/// One direction of the link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DirectionSettings {
    /// Time every byte spends on the link, in microseconds.
    pub delay_us: u64,
    /// Upper end of the further time, drawn uniformly per read (packet relay: per packet), in
    /// microseconds. Nothing overtakes what came before it, unless `reorder` is set.
    pub jitter_us: u64,
    /// Rate in bytes per second; `None` is unlimited.
    pub rate_bytes_per_s: Option<u64>,
    /// Share of packets that disappear. Range: 0 to 1. Packet relay only: a TCP relay has no
    /// packets to lose.
    pub loss_probability: f64,
    /// Whether jitter lets packets overtake each other. Packet relay only.
    pub reorder: bool,
}

/// Everything that can be set, in force from the next byte or connection on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelaySettings {
    /// From the side that connected (downstream) to the target.
    pub forward: DirectionSettings,
    /// From the target back.
    pub backward: DirectionSettings,
    /// Share of new connections that are reset instead of carried. Range: 0 to 1. TCP relay only.
    pub reset_probability: f64,
    /// While true the TCP relay accepts and forwards nothing, and goes on afterwards with what it
    /// held; the packet relay loses every packet.
    pub blackhole: bool,
}

impl RelaySettings {
    /// A symmetric link: half of `rtt` in each direction.
    pub fn round_trip(rtt: std::time::Duration) -> RelaySettings {
        let rtt_us = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        let one_way = |delay_us| DirectionSettings { delay_us, ..DirectionSettings::default() };
        RelaySettings {
            forward: one_way(rtt_us / 2),
            backward: one_way(rtt_us - rtt_us / 2),
            ..RelaySettings::default()
        }
    }

    /// The same settings, if they make sense.
    ///
    /// # Errors
    /// A delay above a minute, a rate of zero, a probability outside 0 to 1.
    pub fn checked(self) -> Result<RelaySettings> {
        for (name, direction) in [("forward", self.forward), ("backward", self.backward)] {
            for (key, value) in [("delay_us", direction.delay_us), ("jitter_us", direction.jitter_us)] {
                ensure!(value <= MAX_DELAY_US, "{name}.{key} = {value}: at most {MAX_DELAY_US}");
            }
            ensure!(
                direction.rate_bytes_per_s != Some(0),
                "{name}.rate_bytes_per_s = 0: set blackhole to stop all traffic"
            );
            let p = direction.loss_probability;
            ensure!((0.0..=1.0).contains(&p), "{name}.loss_probability = {p}: expected 0 to 1");
        }
        let p = self.reset_probability;
        ensure!((0.0..=1.0).contains(&p), "reset_probability = {p}: expected 0 to 1");
        Ok(self)
    }

    /// The same settings, if a relay of TCP connections can follow them.
    ///
    /// # Errors
    /// As [`RelaySettings::checked`]; and packet loss or reordering.
    pub fn for_connections(self) -> Result<RelaySettings> {
        for (name, direction) in [("forward", self.forward), ("backward", self.backward)] {
            ensure!(
                direction.loss_probability == 0.0 && !direction.reorder,
                "{name}: a relay of TCP connections cannot lose or reorder packets; run the lab with isolation \
                 namespaces"
            );
        }
        self.checked()
    }

    /// The same settings, if a relay of packets can follow them.
    ///
    /// # Errors
    /// As [`RelaySettings::checked`]; and a probability of resets.
    pub fn for_packets(self) -> Result<RelaySettings> {
        let p = self.reset_probability;
        ensure!(
            p == 0.0,
            "reset_probability = {p}: a relay of packets ends no connections; use loss_probability"
        );
        self.checked()
    }
}

/// A control request to a relay; the answer is always a [`RelayState`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayRequest {
    /// Only tell.
    Get,
    /// Replace all settings.
    Set(RelaySettings),
    /// Reset every open connection.
    DropNow,
}

/// Settings and counters of a relay.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct RelayState {
    /// The settings in force.
    pub settings: RelaySettings,
    /// Connections being carried.
    pub open: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections ended by a RST of the relay.
    pub reset: u64,
    /// Packets passed on, both directions together; 0 for a relay of connections.
    #[serde(default)]
    pub packets: u64,
    /// Packets lost on purpose or for want of room; 0 for a relay of connections.
    #[serde(default)]
    pub lost: u64,
}
