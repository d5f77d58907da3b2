//! The WAN link of the root lab: IP packets between two TUN devices, with delay, jitter, loss, a
//! rate and black holes.
//!
//! The devices stand in the namespaces of the two mediaries; their kernels speak TCP with each
//! other end to end, so handshakes, round-trip times, retransmissions and congestion control see
//! the link, as they would see a real one. The relay follows the same control protocol as the
//! relay of TCP connections ([`crate::relay`]).

mod device;
mod direction;

use crate::control;
use crate::relay::{RelayRequest, RelaySettings, RelayState};
use anyhow::{Context, Result, bail};
use device::Tun;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Which devices to connect, and how the link starts.
#[derive(Debug, Clone)]
pub struct TunRelayOptions {
    /// The network namespace of the side that connects (downstream).
    pub near: PathBuf,
    /// The network namespace of the side that accepts.
    pub far: PathBuf,
    /// The name of the TUN device in both of them.
    pub device: String,
    /// Where the relay can be told and asked things.
    pub control: SocketAddr,
    /// The settings at the start.
    pub settings: RelaySettings,
}

/// Packets of both directions.
#[derive(Default)]
struct Counters {
    packets: AtomicU64,
    lost: AtomicU64,
}

/// Runs the link until the process ends.
///
/// # Errors
/// A device cannot be attached or fails, the control address cannot be bound, or the settings
/// make no sense for packets.
pub async fn run(options: TunRelayOptions) -> Result<()> {
    let near = Tun::attach(&options.near, &options.device)?;
    let far = Tun::attach(&options.far, &options.device)?;
    let settings = Arc::new(watch::Sender::new(options.settings.for_packets()?));
    let counters = Arc::new(Counters::default());
    let address = options.control;
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("tun-relay: bind control {address}"))?;
    let (told, counted) = (settings.clone(), counters.clone());
    tokio::spawn(control::serve(listener, move |request| answer(&told, &counted, request)));
    tokio::try_join!(
        direction::run(&near, &far, &settings, |s| s.forward, &counters),
        direction::run(&far, &near, &settings, |s| s.backward, &counters),
    )
    .map(|_| ())
}

/// Carries out one control request and tells the state after it.
fn answer(
    settings: &watch::Sender<RelaySettings>,
    counters: &Counters,
    request: RelayRequest,
) -> Result<RelayState> {
    match request {
        RelayRequest::Get => {}
        RelayRequest::Set(new) => {
            settings.send_replace(new.for_packets()?);
        }
        RelayRequest::DropNow => {
            bail!("a relay of packets carries no connections to reset; use a black hole or packet loss")
        }
    }
    Ok(RelayState {
        settings: *settings.borrow(),
        open: 0,
        accepted: 0,
        reset: 0,
        packets: counters.packets.load(Ordering::Relaxed),
        lost: counters.lost.load(Ordering::Relaxed),
    })
}
