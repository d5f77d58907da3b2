//! How often a registry that changes all the time is asked.

use std::time::Duration;
use tokio::time::Instant;

/// Least time between two requests of one watch.
const GAP: Duration = Duration::from_millis(100);
/// Requests that may follow each other at [`GAP`], so that a deployment is followed step by step.
const BURST: f64 = 5.0;
/// One more for each of these. A request every half second is what a registry in disorder costs; half of it would
/// double that, twice as much would make a roster more than a second late.
const REFILL: Duration = Duration::from_millis(500);

/// A bucket of requests: nobody waits while changes are rare, and many changes at once become few questions.
#[derive(Debug)]
pub(super) struct Pace {
    tokens: f64,
    filled: Instant,
    last: Option<Instant>,
}

impl Pace {
    /// With a full bucket.
    pub fn new() -> Self {
        Self { tokens: BURST, filled: Instant::now(), last: None }
    }

    /// Waits until the next request may be made. Cancelling loses one request's turn.
    pub async fn turn(&mut self) {
        let at = self.take(Instant::now());
        tokio::time::sleep_until(at).await;
    }

    /// Takes the next turn: when it is.
    fn take(&mut self, now: Instant) -> Instant {
        let earned = now.saturating_duration_since(self.filled).as_secs_f64() / REFILL.as_secs_f64();
        self.tokens = (self.tokens + earned).min(BURST);
        let missing = (1.0 - self.tokens).max(0.0);
        let by_tokens = now + REFILL.mul_f64(missing);
        let at = self.last.map_or(by_tokens, |last| by_tokens.max(last + GAP));
        // As if the time until then had passed.
        let waited = at.saturating_duration_since(now).as_secs_f64() / REFILL.as_secs_f64();
        self.tokens = (self.tokens + waited).min(BURST) - 1.0;
        (self.filled, self.last) = (at, Some(at));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_requests_never_wait_and_many_become_two_a_second() {
        let (mut pace, start) = (Pace::new(), Instant::now());
        let mut at = start;
        assert_eq!(pace.take(at), start);
        let mut turns = Vec::new();
        for _ in 0..24 {
            let turn = pace.take(at);
            assert!(turn >= at + GAP, "too soon");
            at = turn;
            turns.push((at - start).as_millis());
        }
        // Five and what they earn meanwhile at 100 ms each, the others at 500 ms.
        assert!(turns[3] <= 401 && (9_000..=10_100).contains(&turns[23]), "{turns:?}");
        let later = at + Duration::from_secs(60);
        assert_eq!(pace.take(later), later);
    }
}
