//! Families of plain numbers that are counted elsewhere: counters and gauges of a snapshot.

use super::families::{desc_of, family_of, label_pairs};
use crate::model::series::{Kind, Series};
use prometheus::core::Desc;
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A row of the table that has one number per series, and `N` labels.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberRow<const N: usize>(&'static Series);

impl<const N: usize> NumberRow<N> {
    /// Takes a row; a histogram or another label count does not compile in a `const`.
    pub(super) const fn of(series: &'static Series) -> Self {
        assert!(!matches!(series.kind, Kind::Histogram(_)), "the row is a histogram");
        assert!(series.labels.len() == N, "the row has another number of labels");
        Self(series)
    }

    /// What the registry checks for uniqueness.
    pub(super) fn desc(self) -> Desc {
        desc_of(self.0)
    }

    /// An empty family of this row.
    pub(super) fn family(self) -> NumberFamily<N> {
        NumberFamily { series: self.0, values: BTreeMap::new() }
    }
}

impl NumberRow<0> {
    /// The family of one series without labels; without a value it has none.
    pub(super) fn single(self, value: Option<f64>) -> MetricFamily {
        let mut family = self.family();
        family.put([], value);
        family.into_proto()
    }
}

/// The series of one family while a scrape builds them.
pub(super) struct NumberFamily<const N: usize> {
    series: &'static Series,
    /// By label values, so that one set of labels can never be exposed twice, which would make
    /// Prometheus refuse one of the two.
    values: BTreeMap<[String; N], f64>,
}

impl<const N: usize> NumberFamily<N> {
    /// Adds a series, unless its figure is not known or not a number.
    pub(super) fn put(&mut self, labels: [&str; N], value: Option<f64>) {
        if let Some(value) = value.filter(|v| v.is_finite()) {
            self.values.insert(labels.map(str::to_owned), value);
        }
    }

    /// The family as the registry collects it; without a series the registry leaves it out.
    pub(super) fn into_proto(self) -> MetricFamily {
        let is_counter = self.series.kind == Kind::Counter;
        let metrics = self.values.into_iter().map(|(labels, value)| {
            let mut metric = Metric::default();
            if is_counter {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            metric.set_label(label_pairs(self.series, labels));
            metric
        });
        let kind = if is_counter { MetricType::COUNTER } else { MetricType::GAUGE };
        family_of(self.series, kind, metrics.collect())
    }
}

/// What the registry checks for uniqueness, of each of these rows.
pub(super) fn descs(rows: &[&'static [Series]]) -> Vec<Desc> {
    rows.iter().copied().flatten().map(desc_of).collect()
}

/// Gives the untyped families their type back. The encoder of the `prometheus` crate panics at
/// one, so they go through it as gauges.
///
/// Safe on any text: a line break in a help text or label is escaped, so that no other line can
/// begin like a TYPE line.
pub(super) fn restore_untyped(text: String, rows: &[Series]) -> String {
    let untyped = |line: &str| {
        let name = line.strip_prefix("# TYPE ")?.strip_suffix(" gauge\n")?;
        let row = rows.iter().find(|row| row.name == name)?;
        (row.kind == Kind::Untyped).then(|| format!("# TYPE {name} untyped\n"))
    };
    let lines = text.split_inclusive('\n');
    lines.map(|line| untyped(line).map_or(Cow::Borrowed(line), Cow::Owned)).collect()
}
