//! The metric table's rows as typed handles: how does an exporter use a row wrongly? It does not
//! compile.
//!
//! A row states its kind and its number of labels; [`CounterRow::of`] and its siblings compare
//! both with the type at compile time. So the lookups that other exporters check while running
//! (is this a counter, are these five labels) have no failing case here.

use super::labels::Labels;
use super::numbers::{Group, NumberFamily, NumberRow};
use super::registry::{Collector, Family, Registry};
use super::text::Lines;
use crate::model::series::{Kind, Series};
use prometheus::core::{Atomic, AtomicU64};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Why a family can always be registered.
const VALID: &str = "the metric table's tests prove names unique";

// ---- what is counted as it happens ----------------------------------------------------------

/// What one series counts in.
pub(super) trait Figure: Send + Sync + 'static {
    /// Writes the series' lines.
    fn write<'a>(&self, lines: &mut Lines<'_, '_>, labels: impl IntoIterator<Item = (&'a str, &'a str)>);
}

/// The figures of a family, by their label values.
#[derive(Debug)]
pub(super) struct Vector<F, const N: usize>(Arc<Shared<F, N>>);

#[derive(Debug)]
struct Shared<F, const N: usize> {
    series: &'static Series,
    /// Which of the row's labels stands where in the text.
    order: [usize; N],
    all: RwLock<BTreeMap<Labels<N>, Arc<F>>>,
}

impl<F, const N: usize> Clone for Vector<F, N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F: Figure, const N: usize> Vector<F, N> {
    /// A registered family whose lines have their labels in the row's order.
    pub(super) fn register(series: &'static Series, registry: &Registry) -> Self {
        Self::in_order(series, std::array::from_fn(|at| at), registry)
    }

    /// A registered family whose lines have their labels in alphabetical order.
    fn register_sorted(series: &'static Series, registry: &Registry) -> Self {
        let mut order = std::array::from_fn(|at| at);
        order.sort_by_key(|at: &usize| series.labels[*at].name);
        Self::in_order(series, order, registry)
    }

    fn in_order(series: &'static Series, order: [usize; N], registry: &Registry) -> Self {
        let vector = Self(Arc::new(Shared { series, order, all: RwLock::default() }));
        register_collector(registry, vector.clone());
        vector
    }

    /// The figure with these label values, in the row's order; `make` makes it if it is new.
    pub(super) fn with(&self, values: [&str; N], make: impl FnOnce() -> F) -> Arc<F> {
        let labels = Labels::of(self.0.order.map(|at| values[at]));
        let known = self.0.all.read().unwrap_or_else(PoisonError::into_inner).get(&labels).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.0.all.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(labels).or_insert_with(|| Arc::new(make())))
        })
    }

    /// Removes every series whose label values, in the row's order, are not to stay. Handles of a removed
    /// one count into nothing.
    pub(super) fn retain(&self, stays: impl Fn(&[&str]) -> bool) {
        let mut all = self.0.all.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|labels, _| {
            let mut values = [""; N];
            for (at, value) in self.0.order.into_iter().zip(labels.values()) {
                values[at] = value;
            }
            stays(&values)
        });
    }

    /// Writes all series. What is new waits meanwhile; what is known goes on being counted.
    fn write(&self, lines: &mut Lines<'_, '_>) {
        let names = self.0.order.map(|at| self.0.series.labels[at].name);
        for (labels, figure) in &*self.0.all.read().unwrap_or_else(PoisonError::into_inner) {
            figure.write(lines, names.into_iter().zip(labels.values()));
        }
    }
}

impl<F: Figure, const N: usize> Collector for Vector<F, N> {
    fn rows(&self) -> Vec<&'static Series> {
        vec![self.0.series]
    }

    fn collect(&self) -> Vec<Family> {
        let vector = self.clone();
        vec![Family::new(self.0.series, move |lines| vector.write(lines))]
    }
}

// ---- counters -------------------------------------------------------------------------------

/// A row of the table that is a counter with `N` labels.
#[derive(Debug, Clone, Copy)]
pub(super) struct CounterRow<const N: usize>(&'static Series);

impl<const N: usize> CounterRow<N> {
    /// Takes a row; one of another kind or label count does not compile in a `const`.
    pub(super) const fn of(series: &'static Series) -> Self {
        assert!(matches!(series.kind, Kind::Counter), "the row is not a counter");
        assert!(series.labels.len() == N, "the row has another number of labels");
        Self(series)
    }

    /// Makes the family and registers it.
    pub(super) fn register(self, registry: &Registry) -> Counters<N> {
        Counters(Vector::register_sorted(self.0, registry))
    }

    /// What the registry checks for uniqueness.
    pub(super) fn row(self) -> &'static Series {
        self.0
    }

    /// An empty family of this row, for counters that are counted elsewhere.
    pub(super) fn family(self) -> CounterFamily<N> {
        CounterFamily(NumberRow::of(self.0).family())
    }
}

/// The series of one counter while a scrape builds them.
pub(super) struct CounterFamily<const N: usize>(NumberFamily<N>);

impl<const N: usize> CounterFamily<N> {
    /// Adds a series.
    pub(super) fn put(&mut self, labels: [&str; N], count: u64) {
        self.0.put(labels, Some(count as f64));
    }

    /// Adds a series of a time that is counted in ns and shown in seconds.
    pub(super) fn put_seconds(&mut self, labels: [&str; N], ns: u64) {
        self.0.put(labels, Some(ns as f64 / 1e9));
    }

    /// The family as the registry collects it.
    pub(super) fn into_family(self) -> Family {
        self.0.into_family()
    }
}

/// A registered counter family.
#[derive(Debug, Clone)]
pub(super) struct Counters<const N: usize>(Vector<AtomicU64, N>);

impl<const N: usize> Counters<N> {
    /// The counter with these label values, in the row's order; made with 0 if it is new.
    pub(super) fn with(&self, values: [&str; N]) -> Counter {
        Counter(self.0.with(values, || AtomicU64::new(0)))
    }

    /// As [`Vector::retain`].
    pub(super) fn retain(&self, stays: impl Fn(&[&str]) -> bool) {
        self.0.retain(stays);
    }
}

/// One counter.
#[derive(Debug, Clone)]
pub(super) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(super) fn inc(&self) {
        self.inc_by(1);
    }

    pub(super) fn inc_by(&self, more: u64) {
        self.0.inc_by(more);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.get()
    }
}

impl Figure for AtomicU64 {
    fn write<'a>(&self, lines: &mut Lines<'_, '_>, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
        lines.count(labels, self.get());
    }
}

// ---- histograms -----------------------------------------------------------------------------

/// A row of the table that is a histogram with `N` labels.
#[derive(Debug, Clone, Copy)]
pub(super) struct HistogramRow<const N: usize> {
    series: &'static Series,
    bounds: &'static [f64],
}

impl<const N: usize> HistogramRow<N> {
    /// Takes a row; one of another kind or label count does not compile in a `const`.
    pub(super) const fn of(series: &'static Series) -> Self {
        assert!(series.labels.len() == N, "the row has another number of labels");
        match series.kind {
            Kind::Histogram(bounds) => Self { series, bounds },
            Kind::Counter | Kind::Gauge | Kind::Untyped | Kind::Summary => {
                panic!("the row is not a histogram")
            }
        }
    }

    /// Makes the family and registers it.
    pub(super) fn register(self, registry: &Registry) -> Histograms<N> {
        Histograms { vector: Vector::register_sorted(self.series, registry), bounds: self.bounds }
    }
}

/// A registered histogram family.
#[derive(Debug, Clone)]
pub(super) struct Histograms<const N: usize> {
    vector: Vector<Buckets, N>,
    bounds: &'static [f64],
}

impl<const N: usize> Histograms<N> {
    /// The histogram with these label values, in the row's order; made empty if it is new.
    pub(super) fn with(&self, values: [&str; N]) -> Histogram {
        Histogram(self.vector.with(values, || Buckets::of(self.bounds)))
    }

    /// As [`Vector::retain`].
    pub(super) fn retain(&self, stays: impl Fn(&[&str]) -> bool) {
        self.vector.retain(stays);
    }
}

/// One histogram.
#[derive(Debug, Clone)]
pub(super) struct Histogram(Arc<Buckets>);

impl Histogram {
    /// Adds a value in the row's unit.
    pub(super) fn observe(&self, value: f64) {
        let Buckets { bounds, counted } = &*self.0;
        let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.sum += value;
        counted.counts[bucket] += 1;
    }
}

/// How many values there were up to each bound, and beyond the last one.
#[derive(Debug)]
pub(super) struct Buckets {
    bounds: &'static [f64],
    counted: Mutex<Counted>,
}

/// Behind a lock, so that a page shows the sum of just the values that it counts.
#[derive(Debug, Clone)]
struct Counted {
    /// One more than there are bounds.
    counts: Box<[u64]>,
    sum: f64,
}

impl Buckets {
    fn of(bounds: &'static [f64]) -> Self {
        let counts = vec![0; bounds.len() + 1].into();
        Self { bounds, counted: Mutex::new(Counted { counts, sum: 0.0 }) }
    }
}

impl Figure for Buckets {
    fn write<'a>(&self, lines: &mut Lines<'_, '_>, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
        // Writing takes longer than copying, and who counts must not wait for it.
        let Counted { counts, sum } = self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let below = counts.iter().scan(0, |below, count| {
            *below += count;
            Some(*below)
        });
        lines.histogram(labels, below, sum, counts.iter().sum());
    }
}

// ---- gauges ---------------------------------------------------------------------------------

/// A row of the table that is a gauge with `N` labels. Gauges have no storage: a scrape builds
/// them from the snapshot that they show, see [`super::gauges`].
#[derive(Debug, Clone, Copy)]
pub(super) struct GaugeRow<const N: usize>(NumberRow<N>);

impl<const N: usize> GaugeRow<N> {
    /// Takes a row; one of another kind or label count does not compile in a `const`.
    pub(super) const fn of(series: &'static Series) -> Self {
        assert!(matches!(series.kind, Kind::Gauge), "the row is not a gauge");
        Self(NumberRow::of(series))
    }

    /// What the registry checks for uniqueness.
    pub(super) fn row(self) -> &'static Series {
        self.0.row()
    }

    /// An empty family of this row.
    pub(super) fn family(self) -> NumberFamily<N> {
        self.0.family()
    }

    /// A family that is written group by group from `of`, once it is its turn.
    pub(super) fn grouped<T: 'static>(
        self,
        of: Arc<T>,
        put: impl for<'a> FnOnce(&'a T, &mut Groups<'a, '_, '_, '_, N>) + 'static,
    ) -> Family {
        let series = self.0.row();
        Family::new(series, move |lines| {
            let mut groups = Groups { series, lines, group: Group::default() };
            put(&of, &mut groups);
            groups.end();
        })
    }
}

/// The series of a family that come in groups: those of one group are before all of the next.
pub(super) struct Groups<'a, 'l, 't, 'g, const N: usize> {
    series: &'static Series,
    lines: &'l mut Lines<'t, 'g>,
    /// All that is kept.
    group: Group<'a, N>,
}

impl<'a, const N: usize> Groups<'a, '_, '_, '_, N> {
    /// Adds a series to this group, unless its figure is not known or not a number.
    pub(super) fn put(&mut self, labels: [&'a str; N], value: Option<f64>) {
        self.group.put(labels, value);
    }

    /// Begins the next group.
    pub(super) fn end(&mut self) {
        self.group.write(self.series, self.lines);
    }
}

/// Registers a collector that builds its families at every scrape.
pub(super) fn register_collector(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect(VALID);
}
