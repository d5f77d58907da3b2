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
    /// Upper end of the further time, drawn uniformly per read, in microseconds. Bytes never
    /// overtake each other.
    pub jitter_us: u64,
    /// Rate in bytes per second; `None` is unlimited.
    pub rate_bytes_per_s: Option<u64>,
}

/// Everything that can be set, in force from the next byte or connection on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelaySettings {
    /// From the side that connected (downstream) to the target.
    pub forward: DirectionSettings,
    /// From the target back.
    pub backward: DirectionSettings,
    /// Share of new connections that are reset instead of carried. Range: 0 to 1.
    pub reset_probability: f64,
    /// While true nothing is accepted and nothing is forwarded; afterwards everything goes on.
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
        }
        let p = self.reset_probability;
        ensure!((0.0..=1.0).contains(&p), "reset_probability = {p}: expected 0 to 1");
        Ok(self)
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
}
