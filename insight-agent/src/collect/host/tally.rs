//! Counters of things that end: processes, threads, control groups.
//!
//! A sum over what is there now falls when a worker ends, and Prometheus takes a counter that falls
//! for one that began anew. So what the ended ones had counted is kept.

use std::collections::{BTreeMap, VecDeque};

/// Ended things whose keys are remembered, so that one which comes back (a selector does not match
/// for a moment) is not counted twice. After 1,024 later endings it would be; no id is used again
/// that soon with the same start time.
const REMEMBERED: usize = 1024;

/// What `K`s have counted in `N` counters each, ended ones among them.
#[derive(Debug)]
pub(super) struct Tally<K, const N: usize> {
    live: BTreeMap<K, [u64; N]>,
    ended: VecDeque<(K, [u64; N])>,
    /// What the forgotten ones had counted.
    forgotten: [u64; N],
}

impl<K, const N: usize> Default for Tally<K, N> {
    fn default() -> Self {
        Self { live: BTreeMap::new(), ended: VecDeque::new(), forgotten: [0; N] }
    }
}

impl<K: Ord, const N: usize> Tally<K, N> {
    /// What all have counted so far, `now` being those that are there. Never falls.
    pub(super) fn observe(&mut self, now: impl IntoIterator<Item = (K, [u64; N])>) -> [u64; N] {
        let mut before = std::mem::take(&mut self.live);
        for (key, counts) in now {
            let last = before.remove(&key).or_else(|| self.recall(&key));
            let counts = match last {
                Some(last) if began_anew(last, counts) => {
                    self.forgotten = plus(self.forgotten, last);
                    counts
                }
                Some(last) => std::array::from_fn(|at| counts[at].max(last[at])),
                None => counts,
            };
            self.live.insert(key, counts);
        }
        self.ended.extend(before);
        while self.ended.len() > REMEMBERED {
            let oldest = self.ended.pop_front().map_or([0; N], |(_, counts)| counts);
            self.forgotten = plus(self.forgotten, oldest);
        }
        let known = self.live.values().chain(self.ended.iter().map(|(_, counts)| counts));
        known.fold(self.forgotten, |sum, counts| plus(sum, *counts))
    }

    /// Whether anything was ever counted.
    pub(super) fn has_any(&self) -> bool {
        !self.live.is_empty() || !self.ended.is_empty()
    }

    /// What an ended one had counted, which is back.
    fn recall(&mut self, key: &K) -> Option<[u64; N]> {
        let at = self.ended.iter().position(|(ended, _)| ended == key)?;
        self.ended.remove(at).map(|(_, counts)| counts)
    }
}

/// Whether another thing with the same key counts from 0: nothing rose and something fell.
fn began_anew<const N: usize>(last: [u64; N], now: [u64; N]) -> bool {
    now != last && now.iter().zip(last).all(|(now, last)| *now <= last)
}

fn plus<const N: usize>(one: [u64; N], other: [u64; N]) -> [u64; N] {
    std::array::from_fn(|at| one[at].saturating_add(other[at]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_ended_stays_counted_and_a_successor_adds_to_it() {
        let mut tally = Tally::default();
        assert_eq!(tally.observe([("a", [10, 1]), ("b", [5, 2])]), [15, 3]);
        assert_eq!(tally.observe([("a", [12, 1])]), [17, 3]);
        assert_eq!(tally.observe([("a", [12, 1]), ("c", [3, 3])]), [20, 6]);
    }

    #[test]
    fn one_that_comes_back_is_not_counted_twice() {
        let mut tally = Tally::default();
        tally.observe([("a", [10])]);
        assert_eq!(tally.observe([]), [10]);
        assert_eq!(tally.observe([("a", [11])]), [11]);
    }

    #[test]
    fn a_counter_that_began_anew_adds_to_its_predecessors() {
        let mut tally = Tally::default();
        tally.observe([("group", [100, 7])]);
        assert_eq!(tally.observe([("group", [0, 0])]), [100, 7]);
        assert_eq!(tally.observe([("group", [3, 1])]), [103, 8]);
    }

    #[test]
    fn the_forgotten_stay_counted() {
        let mut tally = Tally::default();
        let last = (0..3 * REMEMBERED as u64).map(|key| tally.observe([(key, [1])])).last();
        assert_eq!(last, Some([3 * REMEMBERED as u64]));
        assert!(tally.ended.len() <= REMEMBERED);
    }

    proptest! {
        #[test]
        fn no_total_ever_falls(readings in prop::collection::vec(prop::collection::btree_map(0..5_u8, any::<[u16; 2]>(), 0..4), 1..20)) {
            let mut tally = Tally::default();
            let mut last = [0, 0];
            for reading in readings {
                let now = tally.observe(reading.into_iter().map(|(key, counts)| (key, counts.map(u64::from))));
                prop_assert!(now[0] >= last[0] && now[1] >= last[1], "{:?} after {:?}", now, last);
                last = now;
            }
        }
    }
}
