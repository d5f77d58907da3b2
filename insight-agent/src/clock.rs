//! The agent's own time: how long it has been running, in seconds that begin when the kernel's do.
//!
//! Programs in the kernel stamp with `bpf_ktime_get_ns`, which is `CLOCK_MONOTONIC`. The uptime that
//! reports carry counts from the last whole second of that clock before the start, so a second of
//! the kernel's is a whole second of the uptime too, and a minimum belongs to one of them.

use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// The zero of the uptime. Copies agree with each other.
#[derive(Debug, Clone, Copy)]
pub struct AgentClock {
    /// Some instant, and `CLOCK_MONOTONIC` at it.
    anchor: Instant,
    monotonic: Duration,
}

impl AgentClock {
    /// A clock that starts now.
    pub fn start() -> Self {
        let anchor = Instant::now();
        // The clock exists on every Linux. Were it refused, seconds of the kernel's would be of
        // another zero and would be left out, and the uptime would be right all the same.
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        Self { anchor, monotonic }
    }

    /// The uptime now.
    pub fn uptime(&self) -> Duration {
        self.uptime_at(Instant::now())
    }

    /// The uptime at an instant; 0 for one before the start.
    pub fn uptime_at(&self, at: Instant) -> Duration {
        let first = Duration::from_nanos(self.monotonic.subsec_nanos().into());
        match at.checked_duration_since(self.anchor) {
            Some(since) => first + since,
            None => first.saturating_sub(self.anchor.saturating_duration_since(at)),
        }
    }

    /// Which second of the uptime a second of `CLOCK_MONOTONIC` is. **None**: one before the start.
    pub fn second_of(&self, monotonic: u64) -> Option<u32> {
        u32::try_from(monotonic.checked_sub(self.monotonic.as_secs())?).ok()
    }
}

/// The second of an uptime.
pub fn second(uptime: Duration) -> u32 {
    // 136 years.
    u32::try_from(uptime.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_of_the_kernel_are_seconds_of_the_uptime() {
        let clock = AgentClock::start();
        for _ in 0..100 {
            let before = clock.uptime();
            let monotonic = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
            let after = clock.uptime();
            let kernel = clock.second_of(monotonic.as_secs()).unwrap();
            assert!((second(before)..=second(after)).contains(&kernel), "{before:?} {kernel} {after:?}");
        }
    }

    #[test]
    fn what_was_before_the_start_has_no_second() {
        let clock = AgentClock::start();
        let started = clock.monotonic.as_secs();
        assert_eq!((clock.second_of(started), clock.second_of(started + 7)), (Some(0), Some(7)));
        assert_eq!(clock.second_of(started.saturating_sub(1)), None);
        assert!(clock.uptime() < Duration::from_secs(60));
    }
}
