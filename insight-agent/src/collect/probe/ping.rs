//! HTTP/2 PING beside a request: how fast does the next hop's event loop answer?

use crate::model::series::lost::Loss;
use h2::{Ping, PingPong, Reason};
use std::future::poll_fn;
use std::sync::{Mutex as StdMutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long no PING is sent after a peer closed a connection with ENHANCE_YOUR_CALM: gRPC
/// servers by default permit one PING per five minutes of silence, and half of it would earn
/// the next strike.
const BACK_OFF: Duration = Duration::from_secs(300);

/// PINGs of one connection; one at a time.
#[derive(Debug)]
pub(super) struct Pinger {
    connection: Mutex<PingPong>,
}

impl Pinger {
    pub(super) fn new(connection: PingPong) -> Self {
        Self { connection: Mutex::new(connection) }
    }

    /// One PING → PING ACK. Waits without bound; the caller sets the deadline.
    ///
    /// **None**: one is under way already (samples overlap, or an earlier call was cancelled),
    /// or the connection ended.
    pub(super) async fn round_trip(&self) -> Option<Duration> {
        let mut connection = self.connection.try_lock().ok()?;
        let start = Instant::now();
        if connection.send_ping(Ping::opaque()).is_err() {
            // A cancelled call left its PING under way: take its answer off if it has come, so
            // that the next call can send one.
            poll_fn(|cx| Poll::Ready(connection.poll_pong(cx).is_ready())).await;
            return None;
        }
        poll_fn(|cx| connection.poll_pong(cx)).await.ok()?;
        Some(start.elapsed())
    }
}

/// Whether PINGs are welcome, across the connections of one probe.
#[derive(Debug, Default)]
pub(super) struct PingPolicy {
    off_until: StdMutex<Option<Instant>>,
}

impl PingPolicy {
    /// Learns from how a connection ended.
    pub(super) fn connection_ended(&self, reason: Option<Reason>) {
        if reason != Some(Reason::ENHANCE_YOUR_CALM) {
            return;
        }
        let mut off_until = self.off_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // A peer may say it on every connection, and without PINGs too: one line per pause.
        if off_until.is_none_or(|until| until <= now) {
            tracing::warn!("a next hop asks for fewer PINGs: none for {BACK_OFF:?}");
        }
        *off_until = Some(now + BACK_OFF);
    }

    /// `Err` while backing off.
    pub(super) fn allowed(&self) -> Result<(), Loss> {
        match *self.off_until.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(until) if Instant::now() < until => Err(Loss::BackedOff),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calm_peer_is_pinged_and_an_annoyed_one_is_not() {
        let policy = PingPolicy::default();
        assert_eq!(policy.allowed(), Ok(()));
        policy.connection_ended(Some(Reason::NO_ERROR));
        policy.connection_ended(None);
        assert_eq!(policy.allowed(), Ok(()));
        policy.connection_ended(Some(Reason::ENHANCE_YOUR_CALM));
        assert_eq!(policy.allowed(), Err(Loss::BackedOff));
    }
}
