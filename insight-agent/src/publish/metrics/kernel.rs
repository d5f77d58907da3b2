//! Series of the sockets: what have the programs in the kernel counted?
//!
//! The kernel counts, the snapshot is cumulative, and a scrape shows the last one as it is: no
//! histogram of ours stands between, so that count and sum stay exact. One that has become old is
//! not shown: a reader that died must not go on showing figures.

use super::families::{CounterRow, GaugeRow, desc_of, family_of, label_pairs};
use crate::model::kernel::{Durations, KernelSnapshot};
use crate::model::series::kernel::{Figure, OTHER, SHOWN, Shown};
use crate::model::series::{Kind, Label, Series, residence, socket_rtt, sockets};
use insight_common::histogram::{EXPORT_POWER, bucket_of};
use insight_common::kernel::layout::{Groups, PEER_OTHER, Table};
use insight_common::kernel::loss::{Loss, Measurement};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Histogram, Metric, MetricFamily, MetricType};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const SEEDED: CounterRow<1> = CounterRow::of(&sockets::SEEDED);
const ENTRIES: GaugeRow<1> = GaugeRow::of(&sockets::ENTRIES);
const PROGRAM_RUNS: CounterRow<1> = CounterRow::of(&sockets::PROGRAM_RUNS);
const PROGRAM_SECONDS: CounterRow<1> = CounterRow::of(&sockets::PROGRAM_SECONDS);
const PROGRAM_MISSES: CounterRow<1> = CounterRow::of(&sockets::PROGRAM_MISSES);
const RTT_FLOOR: GaugeRow<2> = GaugeRow::of(&socket_rtt::SOCKET_RTT_FLOOR);
const PAIRS: CounterRow<2> = CounterRow::of(&residence::PAIRS);

/// How long a snapshot is shown. The maps are read twice a second: twenty readings have failed.
const SHOWN_FOR: Duration = Duration::from_secs(10);

/// The last snapshot.
#[derive(Default)]
pub(super) struct Sockets {
    shown: Mutex<Option<Arc<Reading>>>,
}

/// A snapshot and the names of its peer groups.
struct Reading {
    snapshot: KernelSnapshot,
    /// From group 1 on; group 0 is everybody else.
    peers: Vec<String>,
}

impl Sockets {
    /// Shows `snapshot` in place of the last one. Gives what was lost in between.
    pub(super) fn show(&self, snapshot: KernelSnapshot, peers: &[String]) -> Vec<(Measurement, Loss, u64)> {
        let next = Arc::new(Reading { snapshot, peers: peers.to_vec() });
        let last = {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.replace(Arc::clone(&next))
        };
        let before =
            |measurement, loss| last.as_ref().map_or(0, |last| last.snapshot.lost(measurement, loss));
        let lost = next.snapshot.lost.iter().map(|(&(measurement, loss), &count)| {
            (measurement, loss, count.saturating_sub(before(measurement, loss)))
        });
        lost.filter(|(.., more)| *more > 0).collect()
    }

    fn families(&self) -> Vec<MetricFamily> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = Instant::now();
        let fresh = shown.filter(|shown| shown.snapshot.age(now) <= SHOWN_FOR);
        fresh.map_or_else(Vec::new, |shown| shown.families())
    }
}

impl Reading {
    fn peer(&self, group: u8) -> &str {
        name_of(&self.peers, group)
    }

    /// What a figure's group is called.
    fn group(&self, figure: Figure, group: u8) -> &str {
        match figure.groups() {
            Groups::Peers | Groups::Whole => self.peer(group),
            Groups::Devices => name_of(&self.snapshot.devices, group),
        }
    }

    fn families(&self) -> Vec<MetricFamily> {
        let snapshot = &self.snapshot;
        let mut pairs = PAIRS.family();
        for (&(direction, outcome), &count) in &snapshot.pairs {
            pairs.put([direction.name(), outcome.name()], count);
        }
        let mut seeded = SEEDED.family();
        for &(role, count) in &snapshot.seeded {
            seeded.put([role.name()], count);
        }
        let mut floor = RTT_FLOOR.family();
        for (role, group, _) in &snapshot.floors {
            let ns = snapshot.clean_floor_ns(*role, *group);
            floor.put([self.peer(*group), role.name()], ns.map(|ns| ns as f64 / 1e9));
        }
        let mut families = vec![seeded.into_proto(), floor.into_proto(), pairs.into_proto()];
        families.extend(self.own_cost());
        families.extend(rows().map(|series| self.family(series)));
        families
    }

    /// What the programs themselves take.
    fn own_cost(&self) -> [MetricFamily; 4] {
        let mut entries = ENTRIES.family();
        for table in Table::ALL {
            let count = self.snapshot.entries.as_ref().map(|entries| entries.of(table));
            entries.put([table.name()], count.map(|count| count as f64));
        }
        let (mut runs, mut seconds, mut misses) =
            (PROGRAM_RUNS.family(), PROGRAM_SECONDS.family(), PROGRAM_MISSES.family());
        for cost in &self.snapshot.programs {
            runs.put([cost.program], cost.runs);
            seconds.put_seconds([cost.program], cost.time_ns);
            misses.put([cost.program], cost.recursion_misses);
        }
        [entries.into_proto(), runs.into_proto(), seconds.into_proto(), misses.into_proto()]
    }

    /// All figures that are shown in one family.
    fn family(&self, series: &'static Series) -> MetricFamily {
        let shown = SHOWN.iter().copied().flatten().filter(|shown| shown.series.name == series.name);
        let metrics: Vec<_> = shown.flat_map(|shown| self.metrics(shown)).collect();
        let kind = match series.kind {
            Kind::Histogram(_) => MetricType::HISTOGRAM,
            _ => MetricType::COUNTER,
        };
        family_of(series, kind, metrics)
    }

    /// One figure: a series per group, or their sum.
    fn metrics(&self, shown: &Shown) -> Vec<Metric> {
        let mut metrics = Vec::new();
        let mut put = |group: u8, mut metric: Metric| {
            let value = |label: &Label| match shown.labels.iter().find(|(name, _)| *name == label.name) {
                Some((_, value)) => *value,
                None => self.group(shown.figure, group),
            };
            let values: Vec<String> =
                shown.series.labels.iter().map(|label| value(label).to_owned()).collect();
            metric.set_label(label_pairs(shown.series, values));
            metrics.push(metric);
        };
        let has_groups = shown.series.has_groups();
        match shown.figure {
            Figure::Durations(kind) if has_groups => {
                let of_kind = self.snapshot.durations.range((kind as u32, 0)..=(kind as u32, u8::MAX));
                of_kind.for_each(|(&(_, group), durations)| put(group, histogram(shown.series, durations)));
            }
            Figure::Durations(kind) => {
                let durations = self.snapshot.all_peers(kind);
                if durations.count > 0 {
                    put(PEER_OTHER, histogram(shown.series, &durations));
                }
            }
            Figure::Events(kind) if has_groups => {
                let of_kind = self.snapshot.counts.range((kind, 0)..=(kind, u8::MAX));
                of_kind.for_each(|(&(_, group), count)| put(group, counter(*count)));
            }
            Figure::Events(kind) => {
                self.snapshot.count(kind).into_iter().for_each(|count| put(PEER_OTHER, counter(count)));
            }
        }
        metrics
    }
}

/// The families that are made of [`SHOWN`] alone, each once.
fn rows() -> impl Iterator<Item = &'static Series> {
    let all = SHOWN.iter().copied().flatten().map(|shown| shown.series);
    let mut last = "";
    // A family's figures stand together.
    all.filter(move |series| std::mem::replace(&mut last, series.name) != series.name)
}

/// The name of a group: the configured ones begin at 1.
fn name_of(names: &[String], group: u8) -> &str {
    (group as usize).checked_sub(1).and_then(|at| names.get(at)).map_or(OTHER, String::as_str)
}

fn counter(count: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(count as f64);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    metric
}

fn histogram(series: &Series, durations: &Durations) -> Metric {
    // Summed up once, not for each of the bounds anew.
    let rising: Vec<u64> = durations
        .buckets
        .iter()
        .scan(0, |sum, bucket| {
            *sum += bucket;
            Some(*sum)
        })
        .collect();
    // Every bound is an edge of the kernel's buckets: none is cut.
    let below = |bound: f64| -> u64 {
        let edge = bucket_of((bound * 1e9).round() as u64, EXPORT_POWER).min(rising.len());
        edge.checked_sub(1).map_or(0, |last| rising[last])
    };
    let bounds = if let Kind::Histogram(bounds) = series.kind { bounds } else { &[] };
    let buckets = bounds.iter().map(|bound| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below(*bound));
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    // The buckets' own sum, so that the last bucket and the count agree while programs count on.
    histogram.set_sample_count(rising.last().copied().unwrap_or(0));
    histogram.set_sample_sum(durations.sum_ns as f64 / 1e9);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    metric
}

/// The registry's handle on [`Sockets`].
pub(super) struct KernelCollector {
    sockets: Arc<Sockets>,
    descs: Vec<Desc>,
}

impl KernelCollector {
    pub(super) fn new(sockets: Arc<Sockets>) -> Self {
        let own = [
            SEEDED.desc(),
            ENTRIES.desc(),
            PROGRAM_RUNS.desc(),
            PROGRAM_SECONDS.desc(),
            PROGRAM_MISSES.desc(),
            RTT_FLOOR.desc(),
            PAIRS.desc(),
        ];
        let descs = own.into_iter().chain(rows().map(desc_of)).collect();
        Self { sockets, descs }
    }
}

impl Collector for KernelCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.sockets.families()
    }
}
