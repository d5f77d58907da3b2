//! HTTP/2 PING beside a request: how fast does the next hop's event loop answer?

use crate::model::connection_event::EventReason;
use crate::model::series::lost::Loss;
use h2::{Ping, PingPong};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex as StdMutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// The interval between PINGs is never doubled beyond this: gRPC servers, at their strictest default,
/// permit one in two hours. With half of it such a server would go on closing connections.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);

/// PINGs of one connection; one at a time.
#[derive(Debug)]
pub(super) struct Pinger {
    connection: Mutex<PingPong>,
    sent: AtomicBool,
}

impl Pinger {
    pub(super) fn new(connection: PingPong) -> Self {
        Self { connection: Mutex::new(connection), sent: AtomicBool::new(false) }
    }

    /// Whether a PING was ever sent here.
    pub(super) fn was_used(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
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
        self.sent.store(true, Ordering::Relaxed);
        poll_fn(|cx| connection.poll_pong(cx)).await.ok()?;
        Some(start.elapsed())
    }
}

/// How often PINGs are welcome, across the connections of one probe.
///
/// Until a peer objects, a PING goes with each sample. Each GOAWAY with ENHANCE_YOUR_CALM on a
/// connection that carried PINGs doubles the least time between two of them, beginning with the probe's
/// interval, as gRPC clients do (gRPC proposal A8). It is not shortened again while the probe lives: what
/// a server enforces does not change, and asking for it costs a connection.
#[derive(Debug)]
pub(super) struct PingPolicy {
    /// Of the probe.
    interval: Duration,
    state: StdMutex<Pace>,
}

#[derive(Debug, Default)]
struct Pace {
    /// **None**: nobody has objected.
    least: Option<Duration>,
    last: Option<Instant>,
    /// It was doubled, and nobody has asked since.
    changed: bool,
}

impl PingPolicy {
    /// Of a probe with this interval.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, state: StdMutex::default() }
    }

    /// Learns from the GOAWAY, if any, with which a connection ended. `pinged`: it had carried PINGs.
    /// Returns whether the peer asked for fewer.
    pub(super) fn connection_ended(&self, goaway: Option<EventReason>, pinged: bool) -> bool {
        let calm = matches!(goaway, Some(EventReason::TooManyPings | EventReason::EnhanceYourCalm));
        if !(calm && pinged) {
            return false;
        }
        let mut pace = self.pace();
        let least = (pace.least.unwrap_or(self.interval) * 2).min(LONGEST);
        if pace.least != Some(least) {
            tracing::warn!("a next hop asks for fewer PINGs: at most one in {least:?} from now on");
            (pace.least, pace.changed) = (Some(least), true);
        }
        true
    }

    /// Takes the right to send a PING now. `Err` while backing off.
    pub(super) fn allowed(&self) -> Result<(), Loss> {
        let mut pace = self.pace();
        let now = Instant::now();
        if let (Some(least), Some(last)) = (pace.least, pace.last)
            && now.saturating_duration_since(last) < least
        {
            return Err(Loss::BackedOff);
        }
        pace.last = Some(now);
        Ok(())
    }

    /// The least time between two PINGs, if it has changed since the last call.
    pub(super) fn take_change(&self) -> Option<Duration> {
        let mut pace = self.pace();
        std::mem::take(&mut pace.changed).then_some(pace.least).flatten()
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        // A poisoned lock only means that a thread panicked between two assignments.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calm_peer_is_pinged_and_each_complaint_doubles_the_pause() {
        let policy = PingPolicy::new(Duration::from_secs(60));
        let calm = Some(EventReason::TooManyPings);
        assert!(!policy.connection_ended(Some(EventReason::NoError), true));
        assert!(!policy.connection_ended(None, true));
        assert!(!policy.connection_ended(calm, false), "it was not about our PINGs");
        assert_eq!((policy.allowed(), policy.allowed()), (Ok(()), Ok(())));
        assert_eq!(policy.take_change(), None);

        for minutes in [2, 4, 8, 16, 32, 64, 120] {
            assert!(policy.connection_ended(calm, true));
            assert_eq!(policy.take_change(), Some(Duration::from_secs(60 * minutes)));
            assert_eq!(policy.take_change(), None, "told once");
            assert_eq!(policy.allowed(), Err(Loss::BackedOff));
        }
        assert!(policy.connection_ended(calm, true));
        assert_eq!(policy.take_change(), None, "it is at its longest");
    }

    #[test]
    fn a_ping_is_allowed_again_after_the_pause() {
        let policy = PingPolicy::new(Duration::from_millis(1));
        assert_eq!(policy.allowed(), Ok(()));
        assert!(policy.connection_ended(Some(EventReason::EnhanceYourCalm), true));
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(policy.allowed(), Ok(()));
    }
}
