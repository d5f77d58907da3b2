//! Medians, percentiles, and how sure a median is. Pure and seeded: the same figures on every run.

/// Resamples of a bootstrap. With 10,000 the ends of the interval move by less than the spread of
/// a round; a tenth of it would let the third digit differ between seeds.
const RESAMPLES: usize = 10_000;

/// Share of the resampled medians inside the interval.
const CONFIDENCE: f64 = 0.95;

/// A stream of random numbers that is the same for a seed on every machine and in every version:
/// `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Heads or tails.
    pub fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The bias of the remainder is below 1e-15 for the few rounds of a bench.
        (self.next() % bound as u64) as usize
    }
}

/// What a ratio was over all rounds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Spread {
    /// Median over the rounds.
    pub median: f64,
    /// 95 % bootstrap interval of the median.
    pub interval: [f64; 2],
    /// The lowest and the highest round.
    pub range: [f64; 2],
}

impl Spread {
    /// Of one figure per round. **None**: no rounds.
    pub fn of(values: &[f64], seed: u64) -> Option<Self> {
        let sorted = sorted(values);
        Some(Self {
            median: median(values)?,
            interval: median_interval(values, seed)?,
            range: [*sorted.first()?, *sorted.last()?],
        })
    }
}

/// The middle value; the mean of the two middle ones where the number is even. **None**: no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

/// Smallest value that at least `share` (in 0 to 1) of all values do not exceed (nearest rank).
/// **None**: no values.
pub fn percentile(values: &mut [u64], share: f64) -> Option<u64> {
    let rank = (share * values.len() as f64).ceil() as usize;
    let index = rank.clamp(1, values.len().max(1)) - 1;
    (!values.is_empty()).then(|| *values.select_nth_unstable(index).1)
}

/// Percentile bootstrap of the median: how far it moves when the rounds are drawn again, with
/// replacement. **None**: no values.
fn median_interval(values: &[f64], seed: u64) -> Option<[f64; 2]> {
    let mut random = Random::new(seed);
    let mut resample = || {
        let drawn: Vec<f64> = values.iter().map(|_| values[random.below(values.len())]).collect();
        median(&drawn)
    };
    let medians = (0..RESAMPLES).map(|_| resample()).collect::<Option<Vec<f64>>>()?;
    let medians = sorted(&medians);
    let outside = ((1.0 - CONFIDENCE) / 2.0 * RESAMPLES as f64) as usize;
    Some([medians[outside], medians[RESAMPLES - 1 - outside]])
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_percentile_is_a_value_that_occurred() {
        let mut values: Vec<u64> = (1..=1000).rev().collect();
        assert_eq!(percentile(&mut values, 0.99), Some(990));
        assert_eq!(percentile(&mut values, 0.5), Some(500));
        assert_eq!(percentile(&mut values, 0.0), Some(1));
        assert_eq!(percentile(&mut values, 1.0), Some(1000));
        assert_eq!(percentile(&mut [7], 0.99), Some(7));
        assert_eq!(percentile(&mut [], 0.99), None);
    }

    #[test]
    fn the_interval_holds_the_median_and_lies_within_the_rounds() {
        let rounds = [0.97, 0.99, 0.96, 0.98, 1.01, 0.95, 0.97, 0.98, 0.94, 1.00];
        let spread = Spread::of(&rounds, 1).unwrap();
        let [low, high] = spread.interval;
        assert!(low < spread.median && spread.median < high, "{spread:?}");
        assert!(spread.range == [0.94, 1.01] && low > 0.94 && high < 1.01, "{spread:?}");
    }

    #[test]
    fn identical_rounds_leave_no_doubt() {
        assert_eq!(Spread::of(&[0.9; 6], 1).unwrap().interval, [0.9, 0.9]);
        assert_eq!(Spread::of(&[], 1), None);
    }

    #[test]
    fn the_interval_covers_the_true_median_about_as_often_as_it_says() {
        // 200 benches of 11 rounds each from a distribution whose median is 0.5.
        let mut random = Random::new(42);
        let covered = (0..200).filter(|bench| {
            let rounds: Vec<f64> = (0..11).map(|_| random.below(1_000_001) as f64 / 1e6).collect();
            let [low, high] = Spread::of(&rounds, *bench).unwrap().interval;
            low <= 0.5 && 0.5 <= high
        });
        // 95 % of 200 is 190; a correct interval is this far off once in thousands of seeds.
        assert!((178..=200).contains(&covered.count()));
    }

    #[test]
    fn a_seed_gives_the_same_interval_each_time_and_another_seed_nearly_so() {
        let rounds = [0.97, 0.99, 0.96, 0.98, 1.01, 0.95, 0.97, 0.98, 0.94, 1.00];
        let interval = |seed| Spread::of(&rounds, seed).unwrap().interval;
        assert_eq!(interval(7), interval(7));
        let difference = interval(7).iter().zip(interval(8)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(difference <= 0.0101, "{difference}");
    }

    #[test]
    fn the_stream_is_that_of_the_published_generator() {
        let mut random = Random::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.next(), random.next(), random.next()], expected);
    }
}
