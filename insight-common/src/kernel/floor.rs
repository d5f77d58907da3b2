//! Minima of round trips, one per second.
//!
//! A minimum cannot be subtracted like a counter, so the kernel keeps the last few seconds apart
//! and the reader, which comes more often than that, keeps as many as it wants.

/// Seconds that the kernel keeps. A reader must come more often than this.
pub const FLOOR_SECONDS: usize = 8;

/// 64-bit words per second: see [`Floor`].
pub const FLOOR_WORDS: usize = 4;

/// All seconds of one group and role in the map.
pub type FloorRing = [u64; FLOOR_SECONDS * FLOOR_WORDS];

/// One second of one group and role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// Which second of the kernel's monotonic clock.
    pub second: u64,
    /// The smallest sample. **Unit**: ns. `u64::MAX`: none.
    pub any_ns: u64,
    /// The smallest clean sample: of a handshake, or with further segments in flight, so that the
    /// peer had no reason to delay its acknowledgement. `u64::MAX`: none.
    pub clean_ns: u64,
    /// Clean samples.
    pub clean_count: u64,
}

/// The index in the map.
#[inline(always)]
pub const fn slot(accepted: bool, group: u8, groups: u32) -> Option<u32> {
    if group as u32 >= groups {
        return None;
    }
    Some(if accepted { groups + group as u32 } else { group as u32 })
}

/// Where a second lies in its ring: the index of its first word.
#[inline(always)]
pub const fn first_word(second: u64) -> usize {
    (second as usize & (FLOOR_SECONDS - 1)) * FLOOR_WORDS
}

/// Adds a sample to the four words of its second; whatever other second they hold is forgotten.
#[inline(always)]
pub fn lower(words: &mut [u64; FLOOR_WORDS], second: u64, sample_ns: u64, clean: bool) {
    // An empty ring is all zero, and second 0 of the clock has passed before any program loads.
    if words[0] != second {
        *words = [second, u64::MAX, u64::MAX, 0];
    }
    if sample_ns < words[1] {
        words[1] = sample_ns;
    }
    if clean {
        words[3] += 1;
        if sample_ns < words[2] {
            words[2] = sample_ns;
        }
    }
}

/// The seconds that a ring holds, in no order.
pub fn seconds(ring: &FloorRing) -> impl Iterator<Item = Floor> + '_ {
    let all = ring.chunks_exact(FLOOR_WORDS).map(|words| Floor {
        second: words[0],
        any_ns: words[1],
        clean_ns: words[2],
        clean_count: words[3],
    });
    all.filter(|floor| floor.second != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_keeps_both_minima_and_the_next_lap_starts_anew() {
        let mut words = [0; FLOOR_WORDS];
        lower(&mut words, 9, 20, false);
        lower(&mut words, 9, 30, true);
        assert_eq!(words, [9, 20, 30, 1]);
        lower(&mut words, 17, 99, false);
        assert_eq!(words, [17, 99, u64::MAX, 0]);
    }

    #[test]
    fn seconds_lie_apart_until_the_ring_has_gone_round() {
        assert_eq!(first_word(9), FLOOR_WORDS);
        assert_eq!(first_word(9), first_word(9 + FLOOR_SECONDS as u64));
        assert_ne!(first_word(9), first_word(10));
        let mut ring: FloorRing = [0; FLOOR_SECONDS * FLOOR_WORDS];
        ring[4..8].copy_from_slice(&[9, 1, 2, 3]);
        assert_eq!(seconds(&ring).count(), 1);
    }

    #[test]
    fn the_two_roles_lie_apart() {
        assert_eq!(slot(false, 2, 3), Some(2));
        assert_eq!(slot(true, 0, 3), Some(3));
        assert_eq!(slot(true, 3, 3), None);
    }
}
