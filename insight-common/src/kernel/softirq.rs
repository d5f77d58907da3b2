//! Softirqs: work that an interrupt leaves for later, by vector.

use super::layout::Distribution;

/// A vector that is measured. Its number is the kernel's, the same since 2.6.31:
/// <https://github.com/torvalds/linux/blob/v6.12/include/linux/interrupt.h#L555>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Vector {
    /// Timers of the tick.
    Timer = 1,
    /// Sending what a queue discipline held back.
    NetTx = 2,
    /// Receiving: polling the devices.
    NetRx = 3,
    /// Balancing threads between CPUs.
    Sched = 7,
    /// Callbacks of read-copy-update.
    Rcu = 9,
}

/// Vectors of the kernel, the ones that are not measured included.
pub const VECTORS: u32 = 10;

impl Vector {
    /// Every vector that is measured, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Timer, Self::NetTx, Self::NetRx, Self::Sched, Self::Rcu];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timer => "timer",
            Self::NetTx => "net_tx",
            Self::NetRx => "net_rx",
            Self::Sched => "sched",
            Self::Rcu => "rcu",
        }
    }

    /// The vector with the kernel's number. **None**: it is not measured.
    #[inline(always)]
    pub const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Timer),
            2 => Some(Self::NetTx),
            3 => Some(Self::NetRx),
            7 => Some(Self::Sched),
            9 => Some(Self::Rcu),
            _ => None,
        }
    }

    /// Its waits.
    #[inline(always)]
    pub const fn distribution(self) -> Distribution {
        match self {
            Self::Timer => Distribution::SoftirqTimer,
            Self::NetTx => Distribution::SoftirqNetTx,
            Self::NetRx => Distribution::SoftirqNetRx,
            Self::Sched => Distribution::SoftirqSched,
            Self::Rcu => Distribution::SoftirqRcu,
        }
    }
}

/// A vector is raised on a CPU, where `since` is when it was first. 0: it is not pending.
#[inline(always)]
pub const fn raise(since: &mut u64, now: u64) {
    // Until it runs it may be raised again and again: the first one waits the longest.
    if *since == 0 {
        *since = now;
    }
}

/// The vector starts to run there. **None**: it was not seen to be raised, as before the programs.
/// **Unit**: ns.
#[inline(always)]
pub const fn enter(since: &mut u64, now: u64) -> Option<u64> {
    let raised = *since;
    *since = 0;
    if raised == 0 { None } else { Some(now.saturating_sub(raised)) }
}

/// Whether a poll of a device used its whole budget up, so that more packets are waiting.
#[inline(always)]
pub const fn is_exhausted(work: i32, budget: i32) -> bool {
    // A budget of 0 is a poll that may only clean up what has been sent.
    budget > 0 && work >= budget
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_raise_counts_and_each_run_ends_one_wait() {
        let mut since = 0;
        assert_eq!(enter(&mut since, 90), None, "raised before the programs");
        raise(&mut since, 100);
        raise(&mut since, 120);
        assert_eq!(enter(&mut since, 130), Some(30));
        assert_eq!(enter(&mut since, 140), None);
        raise(&mut since, 150);
        assert_eq!(enter(&mut since, 149), Some(0), "a clock that went back");
    }

    #[test]
    fn every_vector_is_found_by_its_number_and_has_its_own_waits() {
        for vector in Vector::ALL {
            assert_eq!(Vector::of(vector as u32), Some(vector));
            assert!((vector as u32) < VECTORS);
        }
        assert!(Vector::ALL.is_sorted_by_key(|vector| vector.distribution()));
        assert_eq!((0..64).filter_map(Vector::of).count(), Vector::ALL.len());
    }

    #[test]
    fn a_budget_is_used_up_by_as_many_packets_and_never_if_there_is_none() {
        assert!(is_exhausted(64, 64) && is_exhausted(65, 64));
        assert!(!is_exhausted(63, 64) && !is_exhausted(0, 0) && !is_exhausted(-1, 64));
    }
}
