//! What an agent tells the other agents of its region: cumulative figures, and what two reports of
//! one node say about the time between them.

use super::status::MeasurementState;
use insight_common::histogram::{EXPORT_POWER, bucket_of};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many one-second minima a series keeps: the slowest reader that still gets a window's minimum
/// polls every two minutes. With half of it a reader at 60 s could miss one after a late poll.
pub const FLOOR_SECONDS: usize = 120;

/// A window whose border error exceeds this share of its length is not used: its rate and its mean
/// would be of another time than it says.
const MAX_BORDER_SHARE: f64 = 0.1;

/// A window of less than this may lie between two borders of seconds.
const SHORT_WINDOW: Duration = Duration::from_secs(2);

/// All figures of one node since its agent's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// The agent's name, unique within its region.
    pub node: String,
    /// The region it stands in.
    pub region: String,
    /// Random per start, never 0: another epoch means that everything began anew.
    pub epoch: u64,
    /// How long the agent had been running, on its own monotonic clock.
    pub uptime: Duration,
    /// Every series that exists.
    pub series: BTreeMap<SeriesKey, Distribution>,
    /// Which measurements deliver, and why the others do not.
    pub measurements: Vec<MeasurementReport>,
    /// Series left out because the report would have been too large.
    pub series_left_out: u32,
}

/// Which series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// The measurement's name.
    pub measurement: String,
    /// Label names and values, sorted by name, each name once.
    pub labels: Vec<(String, String)>,
}

impl SeriesKey {
    /// With these labels, each name once, in any order.
    pub fn new(measurement: &str, labels: &[(&str, &str)]) -> Self {
        let mut labels: Vec<_> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        labels.sort_unstable();
        Self { measurement: measurement.to_owned(), labels }
    }
}

/// A distribution since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Number of events.
    pub count: u64,
    /// Exact sum of their durations, in nanoseconds.
    pub sum_ns: u64,
    /// Bucket index (`insight_common::histogram`, export power) → events; empty ones are left out.
    pub buckets: BTreeMap<u32, u64>,
    /// Second since the agent's start → smallest duration in it, in nanoseconds; at most
    /// [`FLOOR_SECONDS`] of them.
    pub floors: BTreeMap<u32, u64>,
}

/// The state of one measurement on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasurementReport {
    /// What it measures.
    pub measurement: String,
    /// Whether it delivers.
    pub state: MeasurementState,
    /// Why not, as a closed word; empty while active.
    pub reason: String,
}

/// A report and the poll that brought it, on the reader's clock.
#[derive(Debug, Clone)]
pub struct Polled {
    /// What came.
    pub report: NodeReport,
    /// When it was asked for.
    pub asked: Instant,
    /// When it came.
    pub answered: Instant,
}

impl Polled {
    /// How long the poll took: when within it the figures were read is not known.
    pub fn round_trip(&self) -> Duration {
        self.answered.saturating_duration_since(self.asked)
    }

    /// The middle of the poll: when the figures were most likely read.
    pub fn middle(&self) -> Instant {
        self.asked + self.round_trip() / 2
    }
}

/// What one node measured between two polls.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeWindow {
    /// The node.
    pub node: String,
    /// The exact length on the node's own clock.
    pub length: Duration,
    /// How far the window's borders may be off, as seen from the reader's clock.
    pub border: Duration,
    /// Events in the window; series without one are left out.
    pub series: BTreeMap<SeriesKey, SeriesWindow>,
}

/// Events of one series in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesWindow {
    /// Number of events; not 0.
    pub count: u64,
    /// Exact mean of their durations, in seconds.
    pub mean: f64,
    /// Smallest of the one-second minima within the window, in seconds. **None**: the node keeps
    /// none for this series, or no longer.
    pub floor: Option<f64>,
    /// Events per bucket.
    pub buckets: BTreeMap<u32, u64>,
}

/// Why two polls give no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWindow {
    /// The agent was restarted between them.
    Restarted,
    /// The second is not later than the first.
    NotLater,
    /// A figure fell although the epoch is the same: the node contradicts itself.
    Fell,
    /// The polls took too long for the time between them.
    Blurred,
}

impl NodeWindow {
    /// The time between two polls of one node.
    ///
    /// # Errors
    /// See [`NoWindow`]; never a negative or a guessed figure.
    pub fn between(first: &Polled, second: &Polled) -> Result<Self, NoWindow> {
        let (before, after) = (&first.report, &second.report);
        if before.epoch != after.epoch || before.node != after.node {
            return Err(NoWindow::Restarted);
        }
        let length = after.uptime.checked_sub(before.uptime).filter(|length| !length.is_zero());
        let length = length.ok_or(NoWindow::NotLater)?;
        let border = (first.round_trip() + second.round_trip()) / 2;
        if border.as_secs_f64() > length.as_secs_f64() * MAX_BORDER_SHARE {
            return Err(NoWindow::Blurred);
        }
        // The second in which the first report was taken belongs to both windows: its minimum may be
        // from before, so a window has none of it. Only one so short that it may hold no other
        // second does.
        let first = u32::try_from(before.uptime.as_secs()).unwrap_or(u32::MAX);
        let floors_from = first.saturating_add(u32::from(length >= SHORT_WINDOW));
        let mut series = BTreeMap::new();
        let empty = Distribution::default();
        for (key, now) in &after.series {
            let then = before.series.get(key).unwrap_or(&empty);
            if let Some(window) = now.since(then, floors_from)? {
                series.insert(key.clone(), window);
            }
        }
        Ok(Self { node: after.node.clone(), length, border, series })
    }

    /// Events of a series per second of the node's clock. 0 when there were none.
    pub fn rate(&self, key: &SeriesKey) -> f64 {
        self.series.get(key).map_or(0.0, |series| series.count as f64) / self.length.as_secs_f64()
    }
}

impl Distribution {
    /// Adds one event that ended in this second since the agent's start. Minima older than
    /// [`FLOOR_SECONDS`] go.
    pub fn record(&mut self, ns: u64, second: u32) {
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        // At most 496 buckets, so the index always fits.
        let bucket = u32::try_from(bucket_of(ns, EXPORT_POWER)).unwrap_or(u32::MAX);
        *self.buckets.entry(bucket).or_default() += 1;
        let floor = self.floors.entry(second).or_insert(ns);
        *floor = (*floor).min(ns);
        while self.floors.len() > FLOOR_SECONDS {
            self.floors.pop_first();
        }
    }

    /// What came since `before`, with the minima from second `floors_from` on. **None**: nothing.
    fn since(&self, before: &Self, floors_from: u32) -> Result<Option<SeriesWindow>, NoWindow> {
        let less = |now: u64, then: u64| now.checked_sub(then).ok_or(NoWindow::Fell);
        let count = less(self.count, before.count)?;
        let sum_ns = less(self.sum_ns, before.sum_ns)?;
        if before.buckets.keys().any(|bucket| !self.buckets.contains_key(bucket)) {
            return Err(NoWindow::Fell);
        }
        let mut buckets = BTreeMap::new();
        for (bucket, now) in &self.buckets {
            let events = less(*now, before.buckets.get(bucket).copied().unwrap_or(0))?;
            if events > 0 {
                buckets.insert(*bucket, events);
            }
        }
        if count == 0 {
            return Ok(None);
        }
        let floor = self.floors.range(floors_from..).map(|(_, floor)| *floor).min();
        Ok(Some(SeriesWindow {
            count,
            mean: sum_ns as f64 / count as f64 / 1e9,
            floor: floor.map(|floor| floor as f64 / 1e9),
            buckets,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> SeriesKey {
        SeriesKey::new("receive_wait", &[("role", "downstream")])
    }

    #[test]
    fn a_series_is_the_same_in_whatever_order_its_labels_are_given() {
        let key = SeriesKey::new("pairs", &[("outcome", "paired"), ("direction", "up")]);
        assert_eq!(key, SeriesKey::new("pairs", &[("direction", "up"), ("outcome", "paired")]));
        assert_eq!(key.labels[0].0, "direction");
    }

    fn distribution(events: &[u64]) -> Distribution {
        let mut distribution = Distribution::default();
        for event in events {
            distribution.record(*event, 0);
        }
        distribution.floors.clear();
        distribution
    }

    fn polled(start: Instant, uptime_ms: u64, epoch: u64, distribution: Distribution) -> Polled {
        let answered = start + Duration::from_millis(uptime_ms);
        let report = NodeReport {
            node: "mediary-a".into(),
            region: "eu".into(),
            epoch,
            uptime: Duration::from_millis(uptime_ms),
            series: BTreeMap::from([(key(), distribution)]),
            measurements: vec![],
            series_left_out: 0,
        };
        Polled { report, asked: answered, answered }
    }

    #[test]
    fn a_restarted_agent_gives_no_window_and_the_next_one_is_good() {
        let start = Instant::now();
        let old = polled(start, 60_000, 1, distribution(&[5; 100]));
        let new = polled(start, 1000, 2, distribution(&[7; 3]));
        assert_eq!(NodeWindow::between(&old, &new), Err(NoWindow::Restarted));
        let later = polled(start, 2000, 2, distribution(&[7; 5]));
        let window = NodeWindow::between(&new, &later).unwrap();
        assert_eq!((window.series[&key()].count, window.rate(&key())), (2, 2.0));
    }

    #[test]
    fn readers_at_different_cadences_get_the_same_rates() {
        let start = Instant::now();
        let at =
            |second: u64| polled(start, second * 1000, 1, distribution(&vec![1000; second as usize * 20]));
        let slow = NodeWindow::between(&at(7), &at(14)).unwrap().rate(&key());
        for second in 7..14 {
            let quick = NodeWindow::between(&at(second), &at(second + 1)).unwrap().rate(&key());
            assert!((quick - slow).abs() < 1e-9, "{quick} {slow}");
        }
    }

    #[test]
    fn figures_that_fall_and_clocks_that_stand_give_no_window() {
        let start = Instant::now();
        let more = polled(start, 1000, 1, distribution(&[5, 5]));
        let fewer = polled(start, 2000, 1, distribution(&[5]));
        assert_eq!(NodeWindow::between(&more, &fewer), Err(NoWindow::Fell));
        assert_eq!(NodeWindow::between(&more, &more), Err(NoWindow::NotLater));
        let moved = polled(start, 2000, 1, distribution(&[5, 900]));
        assert_eq!(NodeWindow::between(&more, &moved), Err(NoWindow::Fell), "a bucket fell");
    }

    #[test]
    fn slow_polls_blur_a_short_window() {
        let start = Instant::now();
        let first = polled(start, 1000, 1, distribution(&[]));
        let mut second = polled(start, 2000, 1, distribution(&[5]));
        second.asked = second.answered.checked_sub(Duration::from_millis(190)).unwrap();
        assert_eq!(NodeWindow::between(&first, &second).unwrap().border, Duration::from_millis(95));
        second.asked = second.answered.checked_sub(Duration::from_millis(210)).unwrap();
        assert_eq!(NodeWindow::between(&first, &second), Err(NoWindow::Blurred));
    }

    #[test]
    fn a_minimum_of_before_the_window_is_not_its_floor() {
        let start = Instant::now();
        let first = polled(start, 10_500, 1, distribution(&[10]));
        let mut now = distribution(&[10, 50, 40]);
        now.floors = BTreeMap::from([(9, 1), (10, 2), (11, 50), (12, 40)]);
        let window = NodeWindow::between(&first, &polled(start, 12_900, 1, now)).unwrap();
        assert_eq!(window.series[&key()].floor, Some(40e-9));
        let none = polled(start, 12_900, 1, distribution(&[10, 50]));
        assert_eq!(NodeWindow::between(&first, &none).unwrap().series[&key()].floor, None);
    }

    #[test]
    fn minima_are_kept_for_two_minutes() {
        let mut distribution = Distribution::default();
        for second in 0..200 {
            distribution.record(u64::from(second) + 5, second);
            distribution.record(1000, second);
        }
        assert_eq!(distribution.floors.len(), FLOOR_SECONDS);
        assert_eq!(distribution.floors.first_key_value(), Some((&80, &85)));
    }

    proptest! {
        #[test]
        fn windows_of_any_history_add_up_to_the_whole(events in prop::collection::vec(1_u64..1 << 40, 0..200), cut in 0_usize..200) {
            let cut = cut.min(events.len());
            let start = Instant::now();
            let polls = [(1000, 0), (2000, cut), (3000, events.len())];
            let [a, b, c] = polls.map(|(at, seen)| polled(start, at, 1, distribution(&events[..seen])));
            let count = |first: &Polled, second: &Polled| {
                NodeWindow::between(first, second).unwrap().series.get(&key()).map_or(0, |series| series.count)
            };
            prop_assert_eq!(count(&a, &b) + count(&b, &c), events.len() as u64);
            prop_assert_eq!(count(&a, &c), events.len() as u64);
        }
    }
}
