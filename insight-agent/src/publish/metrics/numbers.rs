//! Families of plain numbers that are counted elsewhere: counters and gauges of a snapshot.

use super::registry::Family;
use super::text::Lines;
use crate::model::series::{Kind, Series};
use std::collections::BTreeMap;

/// A row of the table that has one number per series, and `N` labels.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberRow<const N: usize>(&'static Series);

impl<const N: usize> NumberRow<N> {
    /// Takes a row; a histogram, a summary or another label count does not compile in a `const`.
    pub(super) const fn of(series: &'static Series) -> Self {
        assert!(!matches!(series.kind, Kind::Histogram(_)), "the row is a histogram");
        assert!(!matches!(series.kind, Kind::Summary), "the row is a summary");
        assert!(series.labels.len() == N, "the row has another number of labels");
        Self(series)
    }

    /// What the registry checks for uniqueness.
    pub(super) fn row(self) -> &'static Series {
        self.0
    }

    /// An empty family of this row.
    pub(super) fn family(self) -> NumberFamily<N> {
        NumberFamily { series: self.0, values: BTreeMap::new() }
    }
}

impl NumberRow<0> {
    /// The family of one series without labels; without a value it has none.
    pub(super) fn single(self, value: Option<f64>) -> Family {
        let mut family = self.family();
        family.put([], value);
        family.into_family()
    }
}

/// The series of one family while a scrape builds them. They are copied: for families of few.
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

    /// The family as the registry collects it; without a series nothing is written of it.
    pub(super) fn into_family(self) -> Family {
        let Self { series, values } = self;
        Family::new(series, move |lines| {
            for (labels, value) in &values {
                lines.number(names(series).zip(labels.iter().map(String::as_str)), *value);
            }
        })
    }
}

/// Some series of a family, by label values that are not copied.
pub(super) struct Group<'a, const N: usize>(Vec<([&'a str; N], f64)>);

impl<const N: usize> Default for Group<'_, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, const N: usize> Group<'a, N> {
    /// As [`NumberFamily::put`].
    pub(super) fn put(&mut self, labels: [&'a str; N], value: Option<f64>) {
        self.0.extend(value.filter(|value| value.is_finite()).map(|value| (labels, value)));
    }

    /// Writes them in order, the last one of those with the same labels, and forgets them.
    pub(super) fn write(&mut self, series: &'static Series, lines: &mut Lines<'_, '_>) {
        self.0.sort_by_key(|(labels, _)| *labels);
        for (at, (labels, value)) in self.0.iter().enumerate() {
            if self.0.get(at + 1).is_none_or(|(next, _)| next != labels) {
                lines.number(names(series).zip(*labels), *value);
            }
        }
        self.0.clear();
    }
}

fn names<'a>(series: &'static Series) -> impl Iterator<Item = &'a str> {
    series.labels.iter().map(|label| label.name)
}
