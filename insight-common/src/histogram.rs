//! H2 histograms: base 2 with 8 linear sub-buckets per octave.
//!
//! A value's bucket is found with one leading-zeros instruction and two shifts, so the same code
//! runs inside the kernel. A bucket's upper edge is at most 12.5 % above any value in it, its
//! midpoint at most 6.25 % off.

/// Linear sub-buckets per octave, as a power of two. With 2, quantiles would be off by up to
/// 25 % of a bucket's edge; with 4 every histogram would take 7.6 KiB instead of 3.9.
pub const POWER: u32 = 3;

/// Number of buckets that cover all of `u64`.
pub const BUCKETS: usize = (64 - POWER as usize + 1) << POWER;

/// The bucket of a value. **Range**: 0 to [`BUCKETS`] − 1.
pub const fn bucket_of(value: u64) -> usize {
    let octave = 63 - (value | 1).leading_zeros();
    let shift = octave.saturating_sub(POWER);
    ((shift as usize) << POWER) + (value >> shift) as usize
}

/// The largest value that belongs to a bucket; the `le` of a Prometheus bucket, inclusive.
/// Buckets past the last one give `u64::MAX`.
pub const fn upper_bound(bucket: usize) -> u64 {
    lower_bound(bucket + 1).wrapping_sub(1)
}

/// The smallest value that belongs to a bucket; 0 (the successor of `u64::MAX`) past the last.
pub const fn lower_bound(bucket: usize) -> u64 {
    let linear = 2 << POWER;
    if bucket < linear {
        return bucket as u64;
    }
    if bucket >= BUCKETS {
        return 0;
    }
    let shift = (bucket >> POWER) - 1;
    let step = (bucket & ((1 << POWER) - 1)) + (1 << POWER);
    (step as u64) << shift
}

/// A distribution of durations with exact count and sum.
///
/// **Unit**: whatever the values have; Insight uses nanoseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    count: u64,
    sum: u128,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], count: 0, sum: 0 }
    }
}

impl Histogram {
    /// Adds one value.
    pub fn record(&mut self, value: u64) {
        // `bucket_of` never reaches BUCKETS; `get_mut` keeps that a fact instead of a panic.
        if let Some(bucket) = self.buckets.get_mut(bucket_of(value)) {
            *bucket += 1;
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
    /// value. **Error**: at most 6.25 % of the true value.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let wanted = (q.clamp(0.0, 1.0) * self.count as f64) as u64;
        let rank = wanted.clamp(1, self.count);
        let mut seen = 0;
        for (bucket, &held) in self.buckets.iter().enumerate() {
            seen += held;
            if seen >= rank {
                return Some((lower_bound(bucket) as f64 + upper_bound(bucket) as f64) / 2.0);
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
        assert_eq!(BUCKETS, 496);
        assert_eq!((bucket_of(0), bucket_of(15), bucket_of(16)), (0, 15, 16));
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(upper_bound(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn nothing_has_no_mean_and_no_quantile() {
        let empty = Histogram::default();
        assert_eq!((empty.count(), empty.mean(), empty.quantile(0.5)), (0, None, None));
    }

    #[test]
    fn buckets_join_without_gap() {
        for bucket in 0..BUCKETS - 1 {
            assert_eq!(upper_bound(bucket) + 1, lower_bound(bucket + 1), "{bucket}");
        }
    }

    proptest! {
        #[test]
        fn a_value_lies_within_its_bucket(value in any::<u64>(), shift in 0_u32..64) {
            let value = value >> shift;
            let bucket = bucket_of(value);
            prop_assert!(lower_bound(bucket) <= value && value <= upper_bound(bucket));
            prop_assert!(upper_bound(bucket) as f64 <= value as f64 * 1.125);
        }

        #[test]
        fn a_quantile_is_within_its_error(mut values in prop::collection::vec(1_u64..1 << 40, 1..200), q in 0.0..=1.0) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.record(*value));
            values.sort_unstable();
            let rank = ((q * values.len() as f64) as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            let read = histogram.quantile(q).unwrap();
            prop_assert!((read - exact).abs() <= exact * 0.0625 + 0.5, "{read} for {exact}");
        }
    }
}
