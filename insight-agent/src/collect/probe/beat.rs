//! When is a probe due? Once in each interval, at no fixed place of it.
//!
//! What happens at a fixed rate elsewhere (a collection of garbage each second, a timer of a forwarder)
//! would meet a strict schedule always or never. So each sample has its own place within a part of its
//! interval; intervals themselves are counted from the first one, whatever became of the samples.

use std::time::{Duration, Instant};

/// The due times of one schedule.
#[derive(Debug)]
pub(super) struct Beat {
    /// Where the next interval begins.
    next: Instant,
    interval: Duration,
    /// How long after that a sample may be due. At most an interval, so that they stay in order.
    spread: Duration,
}

impl Beat {
    /// `jitter` is the part of an interval that samples are spread over. **Range**: 0 to 1.
    pub(super) fn new(first: Instant, interval: Duration, jitter: f64) -> Self {
        Self { next: first, interval, spread: interval.mul_f64(jitter) }
    }

    /// The next due time; `place` is one within the spread, at random. **Range**: 0 to 1.
    pub(super) fn due(&mut self, place: f64) -> Instant {
        let due = self.next + self.spread.mul_f64(place);
        self.next += self.interval;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn without_jitter_samples_are_due_at_fixed_times() {
        let start = Instant::now();
        let mut beat = Beat::new(start, SECOND, 0.0);
        assert_eq!([0.9, 0.1, 0.5].map(|place| beat.due(place)), [start, start + SECOND, start + 2 * SECOND]);
    }

    #[test]
    fn a_strict_rhythm_elsewhere_is_met_as_often_as_it_lasts() {
        let start = Instant::now();
        let mut beat = Beat::new(start, SECOND, 1.0);
        // A pause of 100 ms each second, which a strict schedule meets always or never.
        let met = (0..10_000).filter(|_| {
            let since = beat.due(rand::random()) - start;
            since.subsec_millis() < 100
        });
        assert!((800..1200).contains(&met.count()));
    }

    proptest! {
        #[test]
        fn intervals_neither_drift_nor_cross(
            jitter in 0.0..=1.0, places in prop::collection::vec(0.0..1.0, 1..200),
        ) {
            let start = Instant::now();
            let mut beat = Beat::new(start, SECOND, jitter);
            let mut last = start;
            for (nth, place) in (0..).zip(places) {
                let due = beat.due(place);
                let begins = start + SECOND * nth;
                prop_assert!(due >= last && due >= begins && due <= begins + SECOND.mul_f64(jitter));
                last = due;
            }
        }
    }
}
