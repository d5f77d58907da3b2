//! When what arrives on a link leaves it again.

use super::settings::DirectionSettings;
use std::time::{Duration, Instant};

/// When the bytes of one direction leave the link.
pub(crate) struct Schedule {
    /// Until then the link is busy putting earlier bytes on the wire.
    busy_until: Instant,
    /// Nothing leaves before what came earlier.
    last_release: Instant,
}

impl Schedule {
    /// A link that has been idle until `now`.
    pub(crate) fn starting_at(now: Instant) -> Schedule {
        Schedule { busy_until: now, last_release: now }
    }

    /// The release of `length` bytes that arrived at `now`: first they queue for the wire, then
    /// they travel. `draw` places the jitter, from 0 to 1.
    pub(crate) fn release(
        &mut self,
        now: Instant,
        length: usize,
        link: &DirectionSettings,
        draw: f64,
    ) -> Instant {
        let sent = match link.rate_bytes_per_s {
            Some(rate) => self.busy_until.max(now) + Duration::from_secs_f64(length as f64 / rate as f64),
            None => now,
        };
        self.busy_until = sent;
        let jitter = Duration::from_micros(link.jitter_us).mul_f64(draw.clamp(0.0, 1.0));
        let release = sent + Duration::from_micros(link.delay_us) + jitter;
        if link.reorder {
            return release;
        }
        self.last_release = self.last_release.max(release);
        self.last_release
    }

    /// How long something that arrives at `now` would wait until the wire is free.
    pub(crate) fn queueing(&self, now: Instant) -> Duration {
        self.busy_until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: DirectionSettings = DirectionSettings {
        delay_us: 10_000,
        jitter_us: 4_000,
        rate_bytes_per_s: None,
        loss_probability: 0.0,
        reorder: false,
    };

    #[test]
    fn jitter_never_lets_later_bytes_overtake() {
        let start = Instant::now();
        let mut schedule = Schedule::starting_at(start);
        let late = schedule.release(start, 100, &LINK, 1.0);
        let hurried = schedule.release(start + Duration::from_millis(1), 100, &LINK, 0.0);
        assert_eq!(late - start, Duration::from_millis(14));
        assert_eq!(hurried, late, "11 ms would have been before its predecessor");
    }

    #[test]
    fn a_link_that_may_reorder_lets_hurried_packets_overtake() {
        let start = Instant::now();
        let mut schedule = Schedule::starting_at(start);
        let link = DirectionSettings { reorder: true, ..LINK };
        let late = schedule.release(start, 100, &link, 1.0);
        assert!(schedule.release(start + Duration::from_millis(1), 100, &link, 0.0) < late);
    }

    #[test]
    fn a_rate_spaces_bytes_and_the_delay_comes_on_top() {
        let start = Instant::now();
        let mut schedule = Schedule::starting_at(start);
        let link = DirectionSettings { jitter_us: 0, rate_bytes_per_s: Some(100_000), ..LINK };
        let first = schedule.release(start, 1000, &link, 0.5);
        let second = schedule.release(start, 1000, &link, 0.5);
        assert_eq!(first - start, Duration::from_millis(20));
        assert_eq!(second - start, Duration::from_millis(30));
    }

    #[test]
    fn an_idle_link_sends_at_once_again() {
        let start = Instant::now();
        let mut schedule = Schedule::starting_at(start);
        let link = DirectionSettings { delay_us: 0, jitter_us: 0, rate_bytes_per_s: Some(100_000), ..LINK };
        schedule.release(start, 1000, &link, 0.0);
        let later = start + Duration::from_secs(1);
        assert_eq!(schedule.release(later, 1000, &link, 0.0) - later, Duration::from_millis(10));
    }
}
