//! TCP's recovery from loss: which kind, since when, and what a retransmission was for.

use super::layout::Counter;
use super::layout::Distribution;
use super::tick::Tick;

/// TCP's states of congestion, as the kernel numbers them.
pub const OPEN: u8 = 0;
/// Segments are missing that other segments after them show.
pub const FAST: u8 = 3;
/// The retransmission timer ran out.
pub const LOSS: u8 = 4;

/// Where a socket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Recovery {
    /// When it began to recover. None: it does not.
    pub since: Tick,
    /// Its present state of congestion.
    pub state: u8,
    /// Fills the entry up.
    pub unused: [u8; 3],
}

impl Recovery {
    /// Of a socket that has lost nothing.
    #[inline(always)]
    pub const fn new() -> Self {
        Self { since: Tick::NONE, state: OPEN, unused: [0; 3] }
    }

    /// The state changed. Gives how long it recovered, if that is over. **Unit**: ns. A fast
    /// recovery that runs into the timer is one recovery, by the timer.
    #[inline(always)]
    pub const fn enter(&mut self, state: u8, now: u64) -> Option<(Distribution, u64)> {
        let before = self.state;
        self.state = state;
        if matches!(state, FAST | LOSS) {
            if !self.since.is_some() {
                self.since = Tick::of(now);
            }
            return None;
        }
        if state != OPEN || !self.since.is_some() {
            return None;
        }
        let took = self.since.until_ns(now);
        self.since = Tick::NONE;
        let distribution = match before {
            LOSS => Distribution::RecoveryTimeout,
            _ => Distribution::RecoveryFast,
        };
        Some((distribution, took))
    }

    /// What a segment is sent once more for.
    #[inline(always)]
    pub const fn retransmit(&self) -> Counter {
        match self.state {
            FAST => Counter::RetransmitFast,
            LOSS => Counter::RetransmitTimeout,
            // Nothing is known to be lost yet: the last segment, to provoke an acknowledgement.
            _ => Counter::RetransmitProbe,
        }
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISORDER: u8 = 1;

    #[test]
    fn a_recovery_lasts_from_the_first_loss_until_all_is_acknowledged() {
        let mut recovery = Recovery::new();
        assert_eq!(recovery.retransmit(), Counter::RetransmitProbe);
        assert_eq!(recovery.enter(DISORDER, 1_000_000), None);
        assert_eq!(recovery.enter(FAST, 2_000_000), None);
        assert_eq!(recovery.retransmit(), Counter::RetransmitFast);
        let (distribution, took) = recovery.enter(OPEN, 52_000_000).unwrap();
        assert_eq!(distribution, Distribution::RecoveryFast);
        assert!(took.abs_diff(50_000_000) < 2_048, "{took}");
        assert_eq!(recovery.enter(OPEN, 60_000_000), None, "it recovers once");
    }

    #[test]
    fn a_fast_recovery_that_runs_into_the_timer_counts_from_its_begin_as_the_timers() {
        let mut recovery = Recovery::new();
        recovery.enter(FAST, 1_000_000);
        recovery.enter(LOSS, 201_000_000);
        assert_eq!(recovery.retransmit(), Counter::RetransmitTimeout);
        let (distribution, took) = recovery.enter(OPEN, 301_000_000).unwrap();
        assert_eq!(distribution, Distribution::RecoveryTimeout);
        assert!(took.abs_diff(300_000_000) < 2_048, "{took}");
    }

    #[test]
    fn a_state_between_does_not_end_it() {
        let mut recovery = Recovery::new();
        recovery.enter(LOSS, 1_000_000);
        assert_eq!(recovery.enter(DISORDER, 2_000_000), None);
        assert!(recovery.enter(OPEN, 3_000_000).is_some());
    }
}
