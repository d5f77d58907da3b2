//! Did this thread look when it should have? A sample's clock that notices when nobody did.
//!
//! A runqueue's wait says when the thread was ready to run. It is silent about a process that was
//! stopped, frozen with its control group, or kept busy by another task of this thread. So a sample
//! that takes a while is woken in between, and each wake-up that is late says for how long nobody
//! looked.

use crate::collect::host::schedstat::read_thread_wait;
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

/// Until the first wake-up, and the least time between two. Half of it would wake the samples of most
/// paths more often; with double, a stall of 20 ms within a sample of 40 ms could go unseen.
const FIRST: Duration = Duration::from_millis(20);
/// Later ones come after this part of the time that has passed, so that a sample of 10 s has about 30
/// of them, and what may be missed is a quarter of any stall that would void it.
const PART: u32 = 4;
/// A timer is this late at times without any stall: it is rounded up to whole milliseconds.
const SLACK: Duration = Duration::from_millis(2);

/// What came out, and what it took.
#[derive(Debug)]
pub(super) struct Watched<T> {
    pub(super) output: T,
    /// From the first poll to the end.
    pub(super) took: Duration,
    /// The part of it in which nobody looked.
    pub(super) stalled: Duration,
    /// What this thread waited for a CPU meanwhile. **None**: the kernel does not tell.
    pub(super) wait: Option<Duration>,
}

/// Runs `work` to its end. Cancelling cancels the work.
///
/// **Cost**: a timer, and a wake-up after 20, 40, 60, 80, 100, 125 ms and so on.
pub(super) async fn watched<T>(work: impl Future<Output = T>) -> Watched<T> {
    let start = Instant::now();
    let wait_before = read_thread_wait();
    let mut work = pin!(work);
    let mut due = start + FIRST;
    let mut stalled = Duration::ZERO;
    loop {
        tokio::select! {
            biased;
            output = &mut work => {
                let end = Instant::now();
                stalled += lateness(due, end);
                let wait = read_thread_wait().zip(wait_before);
                let wait = wait.map(|(after, before)| after.saturating_sub(before));
                return Watched { output, took: end - start, stalled, wait };
            }
            () = tokio::time::sleep_until(due.into()) => {
                let now = Instant::now();
                stalled += lateness(due, now);
                due = now + FIRST.max((now - start) / PART);
            }
        }
    }
}

fn lateness(due: Instant, now: Instant) -> Duration {
    Some(now.saturating_duration_since(due)).filter(|late| *late > SLACK).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_does_something_else_has_stalled_its_samples() {
        let stall = Duration::from_millis(400);
        let busy = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            // Nothing else runs on this thread meanwhile, as if it were stopped.
            std::thread::sleep(stall);
        });
        let watched = watched(tokio::time::sleep(Duration::from_millis(100))).await;
        busy.await.unwrap();
        assert!(watched.took >= stall, "{watched:?}");
        assert!(watched.stalled >= stall - FIRST - SLACK && watched.stalled <= watched.took, "{watched:?}");
    }

    #[tokio::test]
    async fn waiting_is_no_stall() {
        // The least of several: a loaded host stalls a test now and then.
        let mut least = Duration::MAX;
        for _ in 0..5 {
            least = least.min(watched(tokio::time::sleep(Duration::from_millis(200))).await.stalled);
        }
        assert!(least < Duration::from_millis(20), "{least:?}");
    }
}
