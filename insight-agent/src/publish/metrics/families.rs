//! The metric table's rows as typed handles: how does an exporter use a row wrongly? It does not
//! compile.
//!
//! A row states its kind and its number of labels; [`CounterRow::of`] and its siblings compare
//! both with the type at compile time. So the lookups that other exporters check while running
//! (is this a counter, are these five labels) have no failing case here.

use super::numbers::{NumberFamily, NumberRow};
use super::registry::Registry;
use crate::model::series::{Kind, Series};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts};
use std::collections::HashMap;

/// Why a family can always be made and registered.
const VALID: &str = "the metric table's tests prove names, labels and bounds valid and unique";

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
        let opts = Opts::new(self.0.name, self.0.help);
        let vec = IntCounterVec::new(opts, &label_names(self.0)).expect(VALID);
        registry.register(Box::new(vec.clone())).expect(VALID);
        Counters { vec, series: self.0 }
    }
}

impl<const N: usize> CounterRow<N> {
    /// What the registry checks for uniqueness.
    pub(super) fn desc(self) -> Desc {
        desc_of(self.0)
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

    /// The family as the registry collects it; without a series the registry leaves it out.
    pub(super) fn into_proto(self) -> MetricFamily {
        self.0.into_proto()
    }
}

/// A registered counter family.
#[derive(Debug, Clone)]
pub(super) struct Counters<const N: usize> {
    vec: IntCounterVec,
    series: &'static Series,
}

impl<const N: usize> Counters<N> {
    /// The counter with these label values, in the row's order; made with 0 if it is new.
    pub(super) fn with(&self, values: [&str; N]) -> IntCounter {
        self.vec.with_label_values(&values)
    }

    /// Removes every series whose label values, in the row's order, are not to stay. Handles of a removed
    /// one count into nothing.
    ///
    /// **Cost**: that of a scrape of this family.
    pub(super) fn retain(&self, stays: impl Fn(&[&str]) -> bool) {
        for values in gone(self.series, &self.vec.collect(), stays) {
            // Nobody else removes any.
            let _ = self.vec.remove_label_values(&values);
        }
    }
}

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
        let opts = HistogramOpts::new(self.series.name, self.series.help).buckets(self.bounds.to_vec());
        let vec = HistogramVec::new(opts, &label_names(self.series)).expect(VALID);
        registry.register(Box::new(vec.clone())).expect(VALID);
        Histograms { vec, series: self.series }
    }
}

/// A registered histogram family.
#[derive(Debug, Clone)]
pub(super) struct Histograms<const N: usize> {
    vec: HistogramVec,
    series: &'static Series,
}

impl<const N: usize> Histograms<N> {
    /// The histogram with these label values, in the row's order; made empty if it is new.
    pub(super) fn with(&self, values: [&str; N]) -> Histogram {
        self.vec.with_label_values(&values)
    }

    /// As [`Counters::retain`].
    pub(super) fn retain(&self, stays: impl Fn(&[&str]) -> bool) {
        for values in gone(self.series, &self.vec.collect(), stays) {
            let _ = self.vec.remove_label_values(&values);
        }
    }
}

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
    pub(super) fn desc(self) -> Desc {
        self.0.desc()
    }

    /// An empty family of this row.
    pub(super) fn family(self) -> NumberFamily<N> {
        self.0.family()
    }
}

/// Registers a collector that builds its families at every scrape.
pub(super) fn register_collector(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect(VALID);
}

pub(super) fn desc_of(series: &Series) -> Desc {
    let labels = label_names(series).into_iter().map(str::to_owned).collect();
    Desc::new(series.name.to_owned(), series.help.to_owned(), labels, HashMap::new()).expect(VALID)
}

/// Labels with their values, in the row's order.
pub(super) fn label_pairs(series: &Series, values: impl IntoIterator<Item = String>) -> Vec<LabelPair> {
    let pairs = series.labels.iter().zip(values).map(|(label, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(label.name.to_owned());
        pair.set_value(value);
        pair
    });
    pairs.collect()
}

pub(super) fn family_of(series: &Series, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(series.name.to_owned());
    family.set_help(series.help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// The label values, in the row's order, of what is not to stay.
fn gone(series: &Series, families: &[MetricFamily], stays: impl Fn(&[&str]) -> bool) -> Vec<Vec<String>> {
    let metrics = families.iter().flat_map(MetricFamily::get_metric);
    let values = metrics.map(|metric| {
        let value = |name| metric.get_label().iter().find(|pair| pair.name() == name).map(LabelPair::value);
        series.labels.iter().filter_map(|label| value(label.name)).collect::<Vec<_>>()
    });
    let gone = values.filter(|values| !stays(values));
    gone.map(|values| values.into_iter().map(str::to_owned).collect()).collect()
}

fn label_names(series: &Series) -> Vec<&'static str> {
    series.labels.iter().map(|label| label.name).collect()
}
