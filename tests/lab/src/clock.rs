//! Sleeping with the kernel's high-resolution timers.
//!
//! The runtime's own timer rounds up to whole milliseconds. A lab whose added 10 ms come back as
//! 11 ms could not tell a wrong instrument from a wrong lab, so delays are slept on a timerfd:
//! on an idle machine it fires within about 0.1 ms.

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;

/// A timerfd that the runtime's poller can watch.
struct Watched(TimerFd);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// One timer, reusable; it costs one file descriptor. Dropping a sleep before it is over leaves
/// the timer usable.
pub struct Timer {
    fd: AsyncFd<Watched>,
}

impl Timer {
    /// A timer on the monotonic clock. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new() -> io::Result<Timer> {
        let fd = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its successor is `unsafe` because a type may answer with a descriptor that it does not \
                      own; `Watched` owns the one it answers with, and `unsafe` is denied here"
        )]
        let fd = AsyncFd::with_interest(Watched(fd), tokio::io::Interest::READABLE)?;
        Ok(Timer { fd })
    }

    /// Returns once `deadline` has passed; at once when it already has.
    ///
    /// # Errors
    /// The kernel refused to arm or to read the timer.
    pub async fn sleep_until(&self, deadline: Instant) -> io::Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.fd
                .get_ref()
                .0
                .set(Expiration::OneShot(TimeSpec::from_duration(left)), TimerSetTimeFlags::empty())?;
            let mut ready = self.fd.readable().await?;
            // An expiry left over from a dropped sleep ends this wait early: the loop checks.
            match self.fd.get_ref().0.wait() {
                Ok(()) | Err(nix::errno::Errno::EAGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Sleeps once for `duration`; nothing is slept for zero.
///
/// # Errors
/// As [`Timer::new`] and [`Timer::sleep_until`].
pub async fn sleep(duration: Duration) -> io::Result<()> {
    if duration.is_zero() {
        return Ok(());
    }
    let deadline = Instant::now() + duration;
    Timer::new()?.sleep_until(deadline).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleep_is_never_short_and_rarely_long() {
        let mut over = Vec::new();
        for _ in 0..20 {
            let start = Instant::now();
            sleep(Duration::from_micros(3500)).await.unwrap();
            let took = start.elapsed();
            assert!(took >= Duration::from_micros(3500), "{took:?}");
            over.push(took - Duration::from_micros(3500));
        }
        over.sort();
        // The runtime's own timer would be 0.5 to 1.5 ms late every time.
        assert!(over[5] < Duration::from_micros(500), "lower quartile of lateness {:?}", over[5]);
    }

    #[tokio::test]
    async fn a_dropped_sleep_does_not_cut_the_next_one_short() {
        let timer = Timer::new().unwrap();
        let soon = Instant::now() + Duration::from_millis(2);
        let _ = tokio::time::timeout(Duration::ZERO, timer.sleep_until(soon)).await;
        std::thread::sleep(Duration::from_millis(5));
        let start = Instant::now();
        timer.sleep_until(start + Duration::from_millis(20)).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
