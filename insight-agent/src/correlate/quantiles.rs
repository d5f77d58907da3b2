//! A distribution that quantiles are read from, of which there is one for each probe.

use insight_common::histogram::{bucket_of, lower_bound, upper_bound};

/// Sub-buckets of an octave, as a power of two: midpoints within 0.8 %, so that a median on a screen does
/// not look wrong beside its mean.
const POWER: u32 = 6;
const SUB_BUCKETS: usize = 1 << POWER;

/// A distribution of durations with exact count and sum.
///
/// **Unit**: whatever the values have; Insight uses nanoseconds.
/// **Cost**: a quarter of a KiB for each octave in which there is a value; a path's latency has two or three. All
/// that there can be would take 15 KiB. A bucket that has counted 2^32 values counts no more: at 20 a second
/// that takes seven years.
#[derive(Debug, Clone, Default)]
pub(super) struct Quantiles {
    /// Ascending. The number of an octave is that of its first bucket, divided by theirs.
    octaves: Vec<(usize, Box<[u32; SUB_BUCKETS]>)>,
    count: u64,
    sum: u128,
}

impl Quantiles {
    /// Adds one value.
    pub(super) fn record(&mut self, value: u64) {
        let bucket = bucket_of(value, POWER);
        let (octave, within) = (bucket >> POWER, bucket % SUB_BUCKETS);
        let at = match self.octaves.binary_search_by_key(&octave, |(octave, _)| *octave) {
            Ok(at) => at,
            Err(at) => {
                self.octaves.insert(at, (octave, Box::new([0; SUB_BUCKETS])));
                at
            }
        };
        let held = &mut self.octaves[at].1[within];
        *held = held.saturating_add(1);
        self.count += 1;
        self.sum += u128::from(value);
    }

    /// How many values were added.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Exact arithmetic mean. **None** without a value.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The midpoint of the bucket that holds the `q`-quantile (nearest rank). **None** without a
    /// value. **Error**: at most 2^−7 of the true value.
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        let wanted = (q.clamp(0.0, 1.0) * self.count as f64) as u64;
        let rank = wanted.clamp(1, self.count.max(1));
        let mut seen = 0;
        let held = self.octaves.iter().flat_map(|(octave, held)| (octave << POWER..).zip(held.iter()));
        let mut held = held.skip_while(|(_, held)| {
            seen += u64::from(**held);
            seen < rank
        });
        let (bucket, _) = held.next()?;
        Some(f64::midpoint(lower_bound(bucket, POWER) as f64, upper_bound(bucket, POWER) as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_has_no_mean_and_no_quantile() {
        let empty = Quantiles::default();
        assert_eq!((empty.count(), empty.mean(), empty.quantile(0.5)), (0, None, None));
    }

    #[test]
    fn values_of_one_path_take_few_octaves() {
        let mut path = Quantiles::default();
        (0..10_000).for_each(|nth| path.record(20_000_000 + nth * 1_000));
        assert!(path.octaves.len() <= 2, "{}", path.octaves.len());
        path.record(u64::MAX);
        path.record(0);
        assert_eq!((path.count(), path.quantile(0.0)), (10_002, Some(0.0)));
    }

    proptest! {
        #[test]
        fn a_quantile_is_within_its_error(mut values in prop::collection::vec(1_u64..1 << 40, 1..200), q in 0.0..=1.0) {
            let mut quantiles = Quantiles::default();
            values.iter().for_each(|value| quantiles.record(*value));
            values.sort_unstable();
            let rank = ((q * values.len() as f64) as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            let read = quantiles.quantile(q).unwrap();
            prop_assert!((read - exact).abs() <= exact / 128.0 + 0.5, "{read} for {exact}");
        }

        #[test]
        fn any_values_are_counted(values in prop::collection::vec(any::<u64>(), 1..200)) {
            let mut quantiles = Quantiles::default();
            values.iter().for_each(|value| quantiles.record(*value));
            prop_assert_eq!(quantiles.count(), values.len() as u64);
            prop_assert!(quantiles.octaves.is_sorted_by_key(|(octave, _)| *octave));
            prop_assert!(quantiles.quantile(1.0).is_some());
        }
    }
}
