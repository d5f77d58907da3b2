//! HTTP/2 PING beside a request: how often is it welcome?

use super::http2::Connection;
use crate::model::connection_event::EventReason;
use crate::model::series::lost::Loss;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The interval between PINGs is never doubled beyond this: gRPC servers, at their strictest default,
/// permit one in two hours. With half of it such a server would go on closing connections.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);

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
    state: Mutex<Pace>,
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
        Self { interval, state: Mutex::default() }
    }

    /// Learns from how a connection ended. Returns whether the peer asked for fewer.
    pub(super) fn connection_ended(&self, connection: &Connection) -> bool {
        self.note_goaway(connection.goaway(), connection.was_pinged())
    }

    /// Takes the GOAWAY, if any, with which a connection ended. `pinged`: it had carried PINGs.
    fn note_goaway(&self, goaway: Option<EventReason>, pinged: bool) -> bool {
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
        assert!(!policy.note_goaway(Some(EventReason::NoError), true));
        assert!(!policy.note_goaway(None, true));
        assert!(!policy.note_goaway(calm, false), "it was not about our PINGs");
        assert_eq!((policy.allowed(), policy.allowed()), (Ok(()), Ok(())));
        assert_eq!(policy.take_change(), None);

        for minutes in [2, 4, 8, 16, 32, 64, 120] {
            assert!(policy.note_goaway(calm, true));
            assert_eq!(policy.take_change(), Some(Duration::from_secs(60 * minutes)));
            assert_eq!(policy.take_change(), None, "told once");
            assert_eq!(policy.allowed(), Err(Loss::BackedOff));
        }
        assert!(policy.note_goaway(calm, true));
        assert_eq!(policy.take_change(), None, "it is at its longest");
    }

    #[test]
    fn a_ping_is_allowed_again_after_the_pause() {
        let policy = PingPolicy::new(Duration::from_millis(1));
        assert_eq!(policy.allowed(), Ok(()));
        assert!(policy.note_goaway(Some(EventReason::EnhanceYourCalm), true));
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(policy.allowed(), Ok(()));
    }
}
