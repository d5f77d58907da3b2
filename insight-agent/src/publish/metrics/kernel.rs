//! Series of the sockets: what have the programs in the kernel counted?
//!
//! The kernel counts, the snapshot is cumulative, and a scrape shows the last one as it is: no
//! histogram of ours stands between, so that count and sum stay exact. One that has become old is
//! not shown: a reader that died must not go on showing figures.

use super::families::{CounterRow, GaugeRow};
use super::registry::{Collector, Family};
use super::text::Lines;
use crate::model::kernel::{Durations, KernelSnapshot};
use crate::model::series::kernel::{Figure, Names, SHOWN, Shown};
use crate::model::series::{Kind, Label, Series, residence, socket_rtt, sockets};
use insight_common::histogram::{EXPORT_POWER, bucket_of};
use insight_common::kernel::layout::{Group, Table};
use insight_common::kernel::loss::{Loss, Measurement};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const SEEDED: CounterRow<1> = CounterRow::of(&sockets::SEEDED);
const ENTRIES: GaugeRow<1> = GaugeRow::of(&sockets::ENTRIES);
const PROGRAM_RUNS: CounterRow<1> = CounterRow::of(&sockets::PROGRAM_RUNS);
const PROGRAM_SECONDS: CounterRow<1> = CounterRow::of(&sockets::PROGRAM_SECONDS);
const PROGRAM_MISSES: CounterRow<1> = CounterRow::of(&sockets::PROGRAM_MISSES);
const RTT_FLOOR: GaugeRow<3> = GaugeRow::of(&socket_rtt::SOCKET_RTT_FLOOR);
const PAIRS: CounterRow<3> = CounterRow::of(&residence::PAIRS);

/// How long a snapshot is shown. The maps are read twice a second: twenty readings have failed.
const SHOWN_FOR: Duration = Duration::from_secs(10);

/// The last snapshot.
#[derive(Default)]
pub(super) struct Sockets {
    shown: Mutex<Option<Arc<Reading>>>,
}

/// A snapshot and what its groups are called.
struct Reading {
    snapshot: KernelSnapshot,
    names: Names,
}

impl Sockets {
    /// Shows `snapshot` in place of the last one. Gives what was lost in between.
    pub(super) fn show(&self, snapshot: KernelSnapshot, names: &Names) -> Vec<(Measurement, Loss, u64)> {
        let next = Arc::new(Reading { snapshot, names: names.clone() });
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

    fn families(&self) -> Vec<Family> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = Instant::now();
        let fresh = shown.filter(|shown| shown.snapshot.age(now) <= SHOWN_FOR);
        fresh.map_or_else(Vec::new, |shown| shown.families())
    }
}

impl Reading {
    fn families(self: &Arc<Self>) -> Vec<Family> {
        let snapshot = &self.snapshot;
        let mut pairs = PAIRS.family();
        for (forwarder, of_forwarder) in &snapshot.pairs {
            let forwarder = self.names.forwarder(*forwarder);
            for (&(direction, outcome), &count) in of_forwarder {
                pairs.put([forwarder, direction.name(), outcome.name()], count);
            }
        }
        let mut seeded = SEEDED.family();
        for &(role, count) in &snapshot.seeded {
            seeded.put([role.name()], count);
        }
        let mut floor = RTT_FLOOR.family();
        for (role, group, _) in &snapshot.floors {
            let ns = snapshot.clean_floor_ns(*role, *group);
            let [forwarder, peer] = [self.names.forwarder(group.forwarder), self.names.peer(group.peer)];
            floor.put([forwarder, peer, role.name()], ns.map(|ns| ns as f64 / 1e9));
        }
        let mut families = vec![seeded.into_family(), floor.into_family(), pairs.into_family()];
        families.extend(self.own_cost());
        families.extend(rows().map(|series| {
            let reading = Arc::clone(self);
            Family::new(series, move |lines| reading.write(series, lines))
        }));
        families
    }

    /// What the programs themselves take.
    fn own_cost(&self) -> [Family; 4] {
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
        [entries.into_family(), runs.into_family(), seconds.into_family(), misses.into_family()]
    }

    /// Writes all figures that are shown in one family.
    fn write(&self, series: &'static Series, lines: &mut Lines<'_, '_>) {
        let shown = SHOWN.iter().copied().flatten().filter(|shown| shown.series.name == series.name);
        let mut all: Vec<_> = shown.flat_map(|shown| self.sums(shown)).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (values, sum) in all {
            let labels = series.labels.iter().map(|label| label.name).zip(values);
            match sum {
                Sum::Durations(durations) => write_histogram(series, &durations, labels, lines),
                Sum::Events(count) => lines.count(labels, count),
            }
        }
    }

    /// One figure: a series for each value of the labels that the family has, and the sum over the others.
    fn sums(&self, shown: &Shown) -> Vec<(Vec<&str>, Sum<'_>)> {
        let values = |group: Group| -> Vec<&str> {
            let of_group: Vec<_> = self
                .names
                .labels(shown.figure, group, &self.snapshot.devices)
                .chain(shown.labels.iter().copied())
                .collect();
            let value = |label: &Label| of_group.iter().find(|(name, _)| *name == label.name);
            shown.series.labels.iter().filter_map(value).map(|(_, value)| *value).collect()
        };
        match shown.figure {
            Figure::Durations(kind) => {
                let mut sums = BTreeMap::<_, Cow<'_, Durations>>::new();
                for (group, durations) in self.snapshot.durations_of(kind) {
                    // Most are alone with their labels, and are not copied.
                    let add = |sum: &mut Cow<'_, Durations>| sum.to_mut().add(durations);
                    sums.entry(values(group)).and_modify(add).or_insert(Cow::Borrowed(durations));
                }
                sums.into_iter().map(|(values, sum)| (values, Sum::Durations(sum))).collect()
            }
            Figure::Events(kind) => {
                let mut sums = BTreeMap::<_, u64>::new();
                for (group, count) in self.snapshot.counts_of(kind) {
                    *sums.entry(values(group)).or_default() += count;
                }
                sums.into_iter().map(|(values, count)| (values, Sum::Events(count))).collect()
            }
        }
    }
}

/// What one series shows.
enum Sum<'a> {
    Durations(Cow<'a, Durations>),
    Events(u64),
}

/// The families that are made of [`SHOWN`] alone, each once.
fn rows() -> impl Iterator<Item = &'static Series> {
    let all = SHOWN.iter().copied().flatten().map(|shown| shown.series);
    let mut last = "";
    // A family's figures stand together.
    all.filter(move |series| std::mem::replace(&mut last, series.name) != series.name)
}

fn write_histogram<'a>(
    series: &Series,
    durations: &Durations,
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    lines: &mut Lines<'_, '_>,
) {
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
    let below = |bound: &f64| -> u64 {
        let edge = bucket_of((bound * 1e9).round() as u64, EXPORT_POWER).min(rising.len());
        edge.checked_sub(1).map_or(0, |last| rising[last])
    };
    let bounds = if let Kind::Histogram(bounds) = series.kind { bounds } else { &[] };
    // The buckets' own sum, so that the last bucket and the count agree while programs count on.
    let count = rising.last().copied().unwrap_or(0);
    lines.histogram(labels, bounds.iter().map(below), durations.sum_ns as f64 / 1e9, count);
}

/// The registry's handle on [`Sockets`].
pub(super) struct KernelCollector(pub(super) Arc<Sockets>);

impl Collector for KernelCollector {
    fn rows(&self) -> Vec<&'static Series> {
        let mut own = vec![SEEDED.row(), ENTRIES.row(), PROGRAM_RUNS.row(), PROGRAM_SECONDS.row()];
        own.extend([PROGRAM_MISSES.row(), RTT_FLOOR.row(), PAIRS.row()]);
        own.into_iter().chain(rows()).collect()
    }

    fn collect(&self) -> Vec<Family> {
        self.0.families()
    }
}
