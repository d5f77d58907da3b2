//! The metric table's rows as typed handles: how does an exporter use a row wrongly? It does not
//! compile.
//!
//! A row states its kind and its number of labels; [`CounterRow::of`] and its siblings compare
//! both with the type at compile time. So the lookups that other exporters check while running
//! (is this a counter, are these five labels) have no failing case here.

use crate::model::series::{Kind, Series};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};
use std::collections::{BTreeMap, HashMap};

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
        Counters { vec }
    }
}

impl<const N: usize> CounterRow<N> {
    /// What the registry checks for uniqueness.
    pub(super) fn desc(self) -> Desc {
        desc_of(self.0)
    }

    /// An empty family of this row, for counters that are counted elsewhere.
    pub(super) fn family(self) -> CounterFamily<N> {
        CounterFamily { series: self.0, values: BTreeMap::new() }
    }
}

/// The series of one counter while a scrape builds them.
pub(super) struct CounterFamily<const N: usize> {
    series: &'static Series,
    /// By label values, as in [`GaugeFamily`].
    values: BTreeMap<[String; N], u64>,
}

impl<const N: usize> CounterFamily<N> {
    /// Adds a series.
    pub(super) fn put(&mut self, labels: [&str; N], count: u64) {
        self.values.insert(labels.map(str::to_owned), count);
    }

    /// The family as the registry collects it; without a series the registry leaves it out.
    pub(super) fn into_proto(self) -> MetricFamily {
        let metrics = self.values.into_iter().map(|(values, count)| {
            let mut counter = Counter::default();
            counter.set_value(count as f64);
            let mut metric = Metric::default();
            metric.set_counter(counter);
            metric.set_label(label_pairs(self.series, values));
            metric
        });
        family_of(self.series, MetricType::COUNTER, metrics.collect())
    }
}

/// A registered counter family.
#[derive(Debug, Clone)]
pub(super) struct Counters<const N: usize> {
    vec: IntCounterVec,
}

impl<const N: usize> Counters<N> {
    /// The counter with these label values, in the row's order; made with 0 if it is new.
    pub(super) fn with(&self, values: [&str; N]) -> IntCounter {
        self.vec.with_label_values(&values)
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
            Kind::Counter | Kind::Gauge | Kind::Untyped => panic!("the row is not a histogram"),
        }
    }

    /// Makes the family and registers it.
    pub(super) fn register(self, registry: &Registry) -> Histograms<N> {
        let opts = HistogramOpts::new(self.series.name, self.series.help).buckets(self.bounds.to_vec());
        let vec = HistogramVec::new(opts, &label_names(self.series)).expect(VALID);
        registry.register(Box::new(vec.clone())).expect(VALID);
        Histograms { vec }
    }
}

/// A registered histogram family.
#[derive(Debug, Clone)]
pub(super) struct Histograms<const N: usize> {
    vec: HistogramVec,
}

impl<const N: usize> Histograms<N> {
    /// The histogram with these label values, in the row's order; made empty if it is new.
    pub(super) fn with(&self, values: [&str; N]) -> Histogram {
        self.vec.with_label_values(&values)
    }
}

/// A row of the table that is a gauge with `N` labels. Gauges have no storage: a scrape builds
/// them from the snapshot that they show, see [`super::gauges`].
#[derive(Debug, Clone, Copy)]
pub(super) struct GaugeRow<const N: usize>(&'static Series);

impl<const N: usize> GaugeRow<N> {
    /// Takes a row; one of another kind or label count does not compile in a `const`.
    pub(super) const fn of(series: &'static Series) -> Self {
        assert!(matches!(series.kind, Kind::Gauge), "the row is not a gauge");
        assert!(series.labels.len() == N, "the row has another number of labels");
        Self(series)
    }

    /// What the registry checks for uniqueness.
    pub(super) fn desc(self) -> Desc {
        desc_of(self.0)
    }

    /// An empty family of this row.
    pub(super) fn family(self) -> GaugeFamily<N> {
        GaugeFamily { series: self.0, values: BTreeMap::new() }
    }
}

/// The series of one gauge while a scrape builds them.
pub(super) struct GaugeFamily<const N: usize> {
    series: &'static Series,
    /// By label values, so that one set of labels can never be exposed twice, which would make
    /// Prometheus refuse one of the two.
    values: BTreeMap<[String; N], f64>,
}

impl<const N: usize> GaugeFamily<N> {
    /// Adds a series, unless its figure is not known or not a number.
    pub(super) fn put(&mut self, labels: [&str; N], value: Option<f64>) {
        if let Some(value) = value.filter(|v| v.is_finite()) {
            self.values.insert(labels.map(str::to_owned), value);
        }
    }

    /// The family as the registry collects it; without a series the registry leaves it out.
    pub(super) fn into_proto(self) -> MetricFamily {
        let metrics = self.values.into_iter().map(|(values, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = Metric::from_gauge(gauge);
            metric.set_label(label_pairs(self.series, values));
            metric
        });
        family_of(self.series, MetricType::GAUGE, metrics.collect())
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

fn label_names(series: &Series) -> Vec<&'static str> {
    series.labels.iter().map(|label| label.name).collect()
}
