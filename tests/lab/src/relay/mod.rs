//! The WAN link: a TCP relay in user space with delay, jitter, a rate, resets and black holes.
//!
//! Bytes are read at once, stamped, and written when their time has come, so a delay costs no
//! throughput. Both settings and faults change while it runs, over the control port. What a
//! relay cannot do: it ends TCP on both sides, so the handshake and the kernel's ACKs are
//! answered here without the delay, as by any L4 balancer.

mod direction;
pub(crate) mod schedule;
mod settings;

pub use settings::{DirectionSettings, RelayRequest, RelaySettings, RelayState};

use crate::control;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long a connection attempt to the target may take. Both ends are on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What all connections of one relay share.
struct Relay {
    target: SocketAddr,
    settings: watch::Sender<RelaySettings>,
    /// Counts `drop_now` orders; a connection ends when it sees the number change.
    drops: watch::Sender<u64>,
    open: AtomicU64,
    accepted: AtomicU64,
    reset: AtomicU64,
}

/// Runs a relay from `listen` to `target` until the process ends.
///
/// # Errors
/// One of the two addresses cannot be bound.
pub async fn run(
    listen: SocketAddr,
    target: SocketAddr,
    control: SocketAddr,
    settings: RelaySettings,
) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("relay: bind {listen}"))?;
    let control_listener =
        TcpListener::bind(control).await.with_context(|| format!("relay: bind control {control}"))?;
    let relay = Arc::new(Relay {
        target,
        settings: watch::Sender::new(settings.for_connections()?),
        drops: watch::Sender::new(0),
        open: AtomicU64::new(0),
        accepted: AtomicU64::new(0),
        reset: AtomicU64::new(0),
    });
    let answering = relay.clone();
    tokio::spawn(control::serve(control_listener, move |request| answering.answer(request)));
    relay.accept_all(listener).await
}

impl Relay {
    /// Carries out one control request and tells the state after it.
    fn answer(&self, request: RelayRequest) -> Result<RelayState> {
        match request {
            RelayRequest::Get => {}
            RelayRequest::Set(settings) => {
                self.settings.send_replace(settings.for_connections()?);
            }
            RelayRequest::DropNow => self.drops.send_modify(|orders| *orders += 1),
        }
        Ok(RelayState {
            settings: *self.settings.borrow(),
            open: self.open.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
            reset: self.reset.load(Ordering::Relaxed),
            packets: 0,
            lost: 0,
        })
    }

    async fn accept_all(self: Arc<Self>, listener: TcpListener) -> Result<()> {
        let mut settings = self.settings.subscribe();
        loop {
            // In a black hole the kernel still completes handshakes until the backlog is full:
            // connections hang, as behind a firewall that drops everything after the SYN.
            settings.wait_for(|s| !s.blackhole).await.context("relay: its own settings are gone")?;
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = settings.wait_for(|s| s.blackhole) => continue,
            };
            match accepted {
                Ok((downstream, _)) => {
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(self.clone().carry(downstream));
                }
                Err(error) => {
                    // Typically no file descriptors: accepting again at once would only spin.
                    tracing::warn!("relay: accept: {error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// One connection from accept to close.
    async fn carry(self: Arc<Self>, downstream: TcpStream) {
        let reset_probability = self.settings.borrow().reset_probability;
        if reset_probability > 0.0 && rand::random::<f64>() < reset_probability {
            self.abort(&downstream);
            return;
        }
        let mut drops = self.drops.subscribe();
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(self.target)).await;
        let upstream = match connected {
            Ok(Ok(upstream)) => upstream,
            refused => {
                tracing::debug!("relay: connect {}: {refused:?}", self.target);
                self.abort(&downstream);
                return;
            }
        };
        self.open.fetch_add(1, Ordering::Relaxed);
        let _ = downstream.set_nodelay(true);
        let _ = upstream.set_nodelay(true);
        let (mut from_downstream, mut to_downstream) = downstream.into_split();
        let (mut from_upstream, mut to_upstream) = upstream.into_split();
        let both = async {
            // Each direction ends by itself (a half-close is relayed); an error ends both.
            tokio::try_join!(
                direction::run(&mut from_downstream, &mut to_upstream, self.settings.subscribe(), |s| s
                    .forward),
                direction::run(&mut from_upstream, &mut to_downstream, self.settings.subscribe(), |s| s
                    .backward),
            )
        };
        let clean = tokio::select! {
            ended = both => ended.is_ok(),
            _ = drops.changed() => false,
        };
        if !clean {
            self.abort(from_downstream.as_ref());
            let _ = from_upstream.as_ref().set_zero_linger();
            // Dropped, a write half would send a FIN before the RST.
            to_downstream.forget();
            to_upstream.forget();
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Makes the coming close of `stream` a RST.
    fn abort(&self, stream: &TcpStream) {
        self.reset.fetch_add(1, Ordering::Relaxed);
        let _ = stream.set_zero_linger();
    }
}
