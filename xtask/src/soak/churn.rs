//! Connections that come and go at a rate: each is opened, asks once, and is closed.

use super::exchange::{abort_on_close, call, request};
use anyhow::Result;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Callers that take turns. A request takes up to tens of milliseconds where both CPUs compile: 64
/// reach 1,000 a second as long as one takes less than 64 ms on average, 16 did not.
const CALLERS: u64 = 64;

/// Every so manieth connection is reset by the caller: a kernel that ends it takes another way.
const ABORTED: u64 = 16;

/// How far a caller may be behind its schedule before it lets go of what it has missed: a burst
/// after a stall would be another load than what was asked for.
const MOST_BEHIND: Duration = Duration::from_secs(1);

/// What came of the connections so far.
#[derive(Debug, Default)]
struct Counts {
    answered: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
    is_over: AtomicBool,
}

/// What came of all connections.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Churned {
    /// Connections that got an answer.
    pub answered: u64,
    /// Connections that did not.
    pub failed: u64,
    /// Why the first of those did not.
    pub first_failure: Option<String>,
}

/// A running load. It ends with [`Churn::stop`], or when this is dropped.
pub struct Churn {
    counts: Arc<Counts>,
    callers: Vec<JoinHandle<()>>,
}

impl Churn {
    /// Starts `rate` connections a second to `target`, out of the network namespace of the calling
    /// thread.
    ///
    /// # Errors
    /// The system refused a thread.
    pub fn start(target: SocketAddr, rate: u32) -> Result<Self> {
        let mut churn = Self { counts: Arc::default(), callers: Vec::new() };
        let began = Instant::now();
        for caller in 0..CALLERS {
            let counts = Arc::clone(&churn.counts);
            let work = move || run(target, &Schedule { rate: u64::from(rate), caller }, began, &counts);
            churn.callers.push(std::thread::Builder::new().name("caller".into()).spawn(work)?);
        }
        Ok(churn)
    }

    /// Connections that have been answered so far.
    pub fn answered(&self) -> u64 {
        self.counts.answered.load(Ordering::Relaxed)
    }

    /// Ends the load; returns when the last connection is closed.
    pub fn stop(mut self) -> Churned {
        self.end();
        let failure = self.counts.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
        Churned {
            answered: self.answered(),
            failed: self.counts.failed.load(Ordering::Relaxed),
            first_failure: failure.clone(),
        }
    }

    fn end(&mut self) {
        self.counts.is_over.store(true, Ordering::Relaxed);
        for caller in self.callers.drain(..) {
            // A caller that panicked has said so.
            let _ = caller.join();
        }
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.end();
    }
}

/// Which connections one caller makes, and when.
struct Schedule {
    /// Of all callers. **Unit**: connections per second.
    rate: u64,
    /// Number of this one, below [`CALLERS`].
    caller: u64,
}

impl Schedule {
    /// Number, among all callers' ones, of this caller's connection `at`.
    fn number(&self, at: u64) -> u64 {
        at * CALLERS + self.caller
    }

    /// When it is due, after the start.
    fn due(&self, at: u64) -> Duration {
        Duration::from_nanos(self.number(at) * 1_000_000_000 / self.rate)
    }

    /// The first connection, from `at` on, that is due `elapsed` after the start, or later.
    fn next(&self, at: u64, elapsed: Duration) -> u64 {
        if elapsed < self.due(at) + MOST_BEHIND {
            return at;
        }
        let passed = elapsed.as_secs() * self.rate / CALLERS;
        (passed.max(at)..).find(|at| self.due(*at) >= elapsed).unwrap_or(at)
    }
}

fn run(target: SocketAddr, schedule: &Schedule, began: Instant, counts: &Counts) {
    let request = request(target);
    let mut at = 0;
    while !counts.is_over.load(Ordering::Relaxed) {
        at = schedule.next(at, began.elapsed());
        // No longer than a tenth of a second: the end of the load is waited for.
        let wait = schedule.due(at).saturating_sub(began.elapsed());
        if wait > Duration::from_millis(100) {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        std::thread::sleep(wait);
        let is_aborted = schedule.number(at).is_multiple_of(ABORTED);
        let outcome = call(target, &request)
            .and_then(|stream| if is_aborted { abort_on_close(&stream) } else { Ok(()) });
        match outcome {
            Ok(()) => {
                counts.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                let mut first = counts.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| format!("{error:#}"));
            }
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_together_have_each_instant_once() {
        let schedules = (0..CALLERS).map(|caller| Schedule { rate: 1000, caller });
        let mut due: Vec<_> = schedules.flat_map(|s| (0..100).map(move |at| s.due(at))).collect();
        due.sort_unstable();
        assert!((0..).zip(&due).all(|(at, due)| *due == Duration::from_millis(at)), "{due:?}");
    }

    #[test]
    fn what_is_a_little_late_is_made_up_for_and_a_stall_is_not() {
        let schedule = Schedule { rate: 1000, caller: 3 };
        let late = schedule.due(10) + Duration::from_millis(900);
        assert_eq!(schedule.next(10, late), 10);
        let stalled = schedule.due(10) + Duration::from_secs(5);
        let next = schedule.next(10, stalled);
        assert!(schedule.due(next) >= stalled && schedule.due(next - 1) < stalled, "{next}");
    }

    #[test]
    fn what_nobody_answers_is_counted_with_its_reason() {
        // A listener that is gone: its port refuses.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = gone.local_addr().unwrap();
        drop(gone);
        let churn = Churn::start(target, 1000).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while churn.counts.failed.load(Ordering::Relaxed) == 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let churned = churn.stop();
        assert!(churned.answered == 0 && churned.failed > 0, "{churned:?}");
        assert!(churned.first_failure.unwrap().starts_with("connect"));
    }
}
