//! H2 histograms: base 2 with a fixed number of linear sub-buckets per octave.
//!
//! A value's bucket is found with one leading-zeros instruction and two shifts, so the same code
//! runs inside the kernel. With 2^P sub-buckets a bucket's upper edge is at most 2^−P above any
//! value in it, and its midpoint at most half of that off.

/// Sub-buckets of a histogram that is exported bucket by bucket, as a power of two: edges within
/// 12.5 %. With 2, they would be off by up to 25 %; with 4 each would take 7.6 KiB instead of 3.9.
pub const EXPORT_POWER: u32 = 3;
/// Number of buckets at [`EXPORT_POWER`].
pub const EXPORT_BUCKETS: usize = buckets(EXPORT_POWER);

/// Sub-buckets of a histogram that quantiles are read from, as a power of two: midpoints within
/// 0.8 %, so that a median on a screen does not look wrong beside its mean. Takes 29.5 KiB.
pub const QUANTILE_POWER: u32 = 6;
/// Number of buckets at [`QUANTILE_POWER`].
pub const QUANTILE_BUCKETS: usize = buckets(QUANTILE_POWER);

/// A distribution for quantiles.
pub type QuantileHistogram = Histogram<QUANTILE_POWER, QUANTILE_BUCKETS>;

/// Number of buckets that cover all of `u64`.
pub const fn buckets(power: u32) -> usize {
    (64 - power as usize + 1) << power
}

/// The bucket of a value. **Range**: 0 to `buckets(power)` − 1.
pub const fn bucket_of(value: u64, power: u32) -> usize {
    let octave = 63 - (value | 1).leading_zeros();
    let shift = octave.saturating_sub(power);
    ((shift as usize) << power) + (value >> shift) as usize
}

/// The largest value that belongs to a bucket; the `le` of a Prometheus bucket, inclusive.
/// Buckets past the last one give `u64::MAX`.
pub const fn upper_bound(bucket: usize, power: u32) -> u64 {
    lower_bound(bucket + 1, power).wrapping_sub(1)
}

/// The smallest value that belongs to a bucket; 0 (the successor of `u64::MAX`) past the last.
pub const fn lower_bound(bucket: usize, power: u32) -> u64 {
    let linear = 2 << power;
    if bucket < linear {
        return bucket as u64;
    }
    if bucket >= buckets(power) {
        return 0;
    }
    let shift = (bucket >> power) - 1;
    let step = (bucket & ((1 << power) - 1)) + (1 << power);
    (step as u64) << shift
}

/// A distribution of durations with exact count and sum. `BUCKETS` is `buckets(POWER)`; another
/// number does not compile.
///
/// **Unit**: whatever the values have; Insight uses nanoseconds.
#[derive(Debug, Clone)]
pub struct Histogram<const POWER: u32, const BUCKETS: usize> {
    held: [u64; BUCKETS],
    count: u64,
    sum: u128,
}

impl<const POWER: u32, const BUCKETS: usize> Default for Histogram<POWER, BUCKETS> {
    fn default() -> Self {
        const { assert!(BUCKETS == buckets(POWER), "BUCKETS must be buckets(POWER)") };
        Self { held: [0; BUCKETS], count: 0, sum: 0 }
    }
}

impl<const POWER: u32, const BUCKETS: usize> Histogram<POWER, BUCKETS> {
    /// Adds one value.
    pub fn record(&mut self, value: u64) {
        // `bucket_of` never reaches BUCKETS; `get_mut` keeps that a fact instead of a panic.
        if let Some(held) = self.held.get_mut(bucket_of(value, POWER)) {
            *held += 1;
            self.count += 1;
            self.sum += u128::from(value);
        }
    }

    /// How many values were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Exact arithmetic mean. **None** without a value.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The midpoint of the bucket that holds the `q`-quantile (nearest rank). **None** without a
    /// value. **Error**: at most 2^−(POWER + 1) of the true value.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let wanted = (q.clamp(0.0, 1.0) * self.count as f64) as u64;
        let rank = wanted.clamp(1, self.count);
        let mut seen = 0;
        for (bucket, &held) in self.held.iter().enumerate() {
            seen += held;
            if seen >= rank {
                return Some(f64::midpoint(
                    lower_bound(bucket, POWER) as f64,
                    upper_bound(bucket, POWER) as f64,
                ));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edges_of_the_range_have_buckets() {
        assert_eq!(EXPORT_BUCKETS, 496);
        assert_eq!([0, 15, 16].map(|value| bucket_of(value, EXPORT_POWER)), [0, 15, 16]);
        for power in [EXPORT_POWER, QUANTILE_POWER] {
            assert_eq!(bucket_of(u64::MAX, power), buckets(power) - 1);
            assert_eq!(upper_bound(buckets(power) - 1, power), u64::MAX);
        }
    }

    #[test]
    fn nothing_has_no_mean_and_no_quantile() {
        let empty = QuantileHistogram::default();
        assert_eq!((empty.count(), empty.mean(), empty.quantile(0.5)), (0, None, None));
    }

    #[test]
    fn buckets_join_without_gap() {
        for power in [EXPORT_POWER, QUANTILE_POWER] {
            for bucket in 0..buckets(power) - 1 {
                assert_eq!(upper_bound(bucket, power) + 1, lower_bound(bucket + 1, power), "{bucket}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_value_lies_within_its_bucket(value in any::<u64>(), shift in 0_u32..64, power in 1_u32..8) {
            let value = value >> shift;
            let bucket = bucket_of(value, power);
            let upper = upper_bound(bucket, power);
            prop_assert!(lower_bound(bucket, power) <= value && value <= upper);
            prop_assert!(upper as f64 <= value as f64 * (1.0 + 0.5_f64.powi(power.cast_signed())));
        }

        #[test]
        fn a_quantile_is_within_its_error(mut values in prop::collection::vec(1_u64..1 << 40, 1..200), q in 0.0..=1.0) {
            let mut histogram = QuantileHistogram::default();
            values.iter().for_each(|value| histogram.record(*value));
            values.sort_unstable();
            let rank = ((q * values.len() as f64) as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            let read = histogram.quantile(q).unwrap();
            prop_assert!((read - exact).abs() <= exact / 128.0 + 0.5, "{read} for {exact}");
        }
    }
}
