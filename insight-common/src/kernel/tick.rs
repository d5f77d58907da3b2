//! Instants in 32 bits, for entries of which there are many.

/// An instant in steps of 1,024 ns. 0: none. Differences are right up to 73 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Tick(u32);

/// How many bits of a time in nanoseconds a step leaves out.
const SHIFT: u32 = 10;

impl Tick {
    /// No instant.
    pub const NONE: Self = Self(0);

    /// The step that holds a time of the kernel's clock.
    #[inline(always)]
    pub const fn of(now_ns: u64) -> Self {
        let step = (now_ns >> SHIFT) as u32;
        // One step in 73 minutes would be none.
        Self(if step == 0 { 1 } else { step })
    }

    /// Whether it is one.
    #[inline(always)]
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }

    /// How long before `now_ns` it was, with an error of a step. **Unit**: ns. 0 if it was after,
    /// on another CPU's clock.
    #[inline(always)]
    pub const fn until_ns(self, now_ns: u64) -> u64 {
        let steps = ((now_ns >> SHIFT) as u32).wrapping_sub(self.0);
        // A tick of the future is a tiny one: nothing waits for longer than an hour.
        if steps as i32 <= 0 { 0 } else { (steps as u64) << SHIFT }
    }

    /// The later of two.
    #[inline(always)]
    pub const fn or_later(self, other: Self) -> Self {
        if other.is_some() && other.0.wrapping_sub(self.0) as i32 > 0 { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_survives_the_counters_end_and_is_a_step_wide() {
        for start in [1_u64 << 20, (1 << 42) - 5_000, (1 << 42) - 1, 1 << 42, (1 << 42) + 1_000_000] {
            let tick = Tick::of(start);
            assert!(tick.is_some());
            for waited in [0_u64, 2_000, 20_000_000, 900_000_000_000] {
                let found = tick.until_ns(start + waited);
                assert!(found.abs_diff(waited) <= 2_048, "{start} {waited} {found}");
            }
        }
        assert_eq!(Tick::of(5_000_000).until_ns(1_000_000), 0, "another CPU's clock");
        assert!(!Tick::NONE.is_some());
    }

    #[test]
    fn the_later_one_is_chosen_across_the_counters_end() {
        let (before, after) = (Tick::of((1 << 42) - 10_000), Tick::of((1 << 42) + 10_000));
        assert_eq!((before.or_later(after), after.or_later(before)), (after, after));
        assert_eq!(before.or_later(Tick::NONE), before);
    }
}
