//! Has a probe's path become worse? Then some samples more say at once whether it stays so.

use super::outbox::Outbox;
use super::schedule::Work;
use crate::model::burst::{Burst, BurstCause};
use crate::model::plan::Connection;
use crate::model::sample::{Outcome, ProbeEvent, ProbeSample};
use crate::model::series::lost::Loss;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Good samples that are remembered, and how many there must be before anything can be worse than they are.
const KEPT: usize = 16;
const KNOWN: usize = 8;
/// Worse is longer than so many medians, and longer by so much: half of either would make jitter a change.
const FACTOR: u32 = 2;
const LEAST: Duration = Duration::from_millis(5);
/// Least time between two bursts of a probe.
const REST: Duration = Duration::from_secs(60);
/// Most bursts at once in this process: when a region breaks, all of its probes become worse together.
const AT_ONCE: usize = 8;
/// The time between two samples of a burst: a tenth of the probe's interval, within these.
const SPACING: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// What a probe's samples were like lately.
#[derive(Debug, Default)]
pub(super) struct Trend {
    recent: VecDeque<Duration>,
    /// The last sample was bad, so the next bad one is no change.
    is_bad: bool,
    last: Option<Instant>,
}

impl Trend {
    /// Takes a sample that ended at `now`; gives what has become worse with it, and the median before.
    pub(super) fn note(&mut self, sample: &ProbeSample, now: Instant) -> Option<(BurstCause, Duration)> {
        let typical = self.typical();
        let cause = match (&sample.outcome, sample.total()) {
            (Outcome::Voided(_), _) => return None,
            (Outcome::Failed(_), _) => Some(BurstCause::Failure),
            (Outcome::Ok | Outcome::Late, Some(total)) => {
                self.recent.push_back(total);
                if self.recent.len() > KEPT {
                    self.recent.pop_front();
                }
                let is_worse = |typical: Duration| total > (typical * FACTOR).max(typical + LEAST);
                typical.is_some_and(is_worse).then_some(BurstCause::Latency)
            }
            (Outcome::Ok | Outcome::Late, None) => None,
        };
        let was_bad = std::mem::replace(&mut self.is_bad, cause.is_some());
        let (cause, typical) = cause.filter(|_| !was_bad).zip(typical)?;
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < REST) {
            return None;
        }
        self.last = Some(now);
        Some((cause, typical))
    }

    /// The median of what is remembered. **None**: too few to know.
    fn typical(&self) -> Option<Duration> {
        if self.recent.len() < KNOWN {
            return None;
        }
        let mut sorted: Vec<_> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// A place among the bursts that may run at once.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let more = |running| (running < AT_ONCE).then_some(running + 1);
        RUNNING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes the plan's `burst` samples on the reused connection, within a deadline and its drain time, and tells
/// what they found. A burst for which there is no place is counted as lost. Cancelling tells nothing.
pub(super) async fn look_closer(work: &Work, cause: BurstCause, before: Duration, outbox: &Outbox) {
    let Some(_place) = Place::take() else {
        outbox.send(ProbeEvent::Lost("burst", Loss::Skipped));
        return;
    };
    let plan = work.plan();
    let [least, most] = SPACING;
    let spacing = (plan.interval / 10).clamp(least, most);
    let began = Instant::now();
    let mut burst = Burst::new(cause, before, began);
    for _ in 0..plan.burst {
        tokio::time::sleep(spacing).await;
        if began.elapsed() >= plan.deadline + plan.drain || !work.has_room(Connection::Reused) {
            break;
        }
        // What is lost besides (a PING too soon after the last) is of no interest here.
        if let (Some(sample), _) = work.sample(Connection::Reused, Instant::now()).await {
            burst.add(&sample);
        }
    }
    outbox.send(ProbeEvent::Burst(Arc::clone(plan), Box::new(burst)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::outcome::{Failure, FailureClass, FailurePhase, GrpcStatus};
    use crate::model::plan::ProbePlan;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn sample(plan: &Arc<ProbePlan>, finished: Instant, total: Duration) -> ProbeSample {
        ProbeSample::example(plan, finished, [Duration::ZERO, total, Duration::ZERO])
    }

    fn failed() -> Outcome {
        Outcome::Failed(Failure {
            status: GrpcStatus::Unavailable,
            class: FailureClass::Refused,
            phase: FailurePhase::Connect,
            detail: "why".into(),
        })
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// What comes of samples of so many ms, a second apart; 0 is one that failed.
    fn causes(samples: impl IntoIterator<Item = u64>) -> Vec<(usize, BurstCause, Duration)> {
        let plan = Arc::new(ProbePlan::example(([127, 0, 0, 1], 1).into()));
        let (mut trend, mut now) = (Trend::default(), Instant::now());
        let mut found = Vec::new();
        for (nth, total) in samples.into_iter().enumerate() {
            now += SECOND;
            let good = sample(&plan, now, ms(total.max(1)));
            let taken = if total == 0 { ProbeSample { outcome: failed(), ..good } } else { good };
            found.extend(trend.note(&taken, now).map(|(cause, before)| (nth, cause, before)));
        }
        found
    }

    #[test]
    fn a_failure_after_good_samples_is_a_change_and_the_next_is_none() {
        let good = [20; 8];
        let found = causes(good.into_iter().chain([0, 0, 0]));
        assert_eq!(found, [(8, BurstCause::Failure, ms(20))]);
        assert_eq!(causes([20, 20, 20, 0, 0]), [], "too few to know");
    }

    #[test]
    fn twice_as_long_is_a_change_and_jitter_is_none() {
        let jitter = [20, 24, 18, 22, 20, 19, 25, 21, 30, 24, 38, 20];
        assert_eq!(causes(jitter), []);
        let found = causes([20; 10].into_iter().chain([60, 60, 60]));
        assert_eq!(found, [(10, BurstCause::Latency, ms(20))]);
        assert_eq!(causes([1; 10].into_iter().chain([4, 4])), [], "3 ms more are no change");
    }

    #[test]
    fn a_probe_that_flaps_rests_between_its_bursts() {
        let flaps = (0..140).map(|nth| if nth % 2 == 0 || nth < 8 { 20 } else { 0 });
        let at: Vec<_> = causes(flaps).into_iter().map(|(nth, ..)| nth).collect();
        assert_eq!(at, [9, 69, 129]);
    }

    #[test]
    fn only_so_many_run_at_once() {
        let places: Vec<_> = std::iter::from_fn(Place::take).take(AT_ONCE + 1).collect();
        assert!(places.len() <= AT_ONCE);
        drop(places);
        assert!(Place::take().is_some());
    }
}
