//! Sum and count, and nothing else: two series where a histogram would have thirty.

use super::families::{Figure, Vector};
use super::registry::Registry;
use super::text::Lines;
use crate::model::series::{Kind, Series};
use prometheus::core::{Atomic, AtomicU64};
use std::sync::Arc;
use std::time::Duration;

/// A row of the table that is a summary with `N` labels.
#[derive(Debug, Clone, Copy)]
pub(super) struct SummaryRow<const N: usize>(&'static Series);

impl<const N: usize> SummaryRow<N> {
    /// Takes a row; one of another kind or label count does not compile in a `const`.
    pub(super) const fn of(series: &'static Series) -> Self {
        assert!(matches!(series.kind, Kind::Summary), "the row is not a summary");
        assert!(series.labels.len() == N, "the row has another number of labels");
        Self(series)
    }

    /// Makes the family and registers it.
    pub(super) fn register(self, registry: &Registry) -> Summaries<N> {
        Summaries(Vector::register(self.0, registry))
    }
}

/// One sum and count.
#[derive(Debug)]
pub(super) struct Sum {
    ns: AtomicU64,
    count: AtomicU64,
}

impl Default for Sum {
    fn default() -> Self {
        Self { ns: AtomicU64::new(0), count: AtomicU64::new(0) }
    }
}

impl Sum {
    /// Adds a duration. Two at once are both counted; a scrape between the two additions of one sees its
    /// time and not yet its count.
    pub(super) fn observe(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.ns.inc_by(ns);
        self.count.inc_by(1);
    }
}

impl Figure for Sum {
    fn write<'a>(&self, lines: &mut Lines<'_, '_>, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let count = self.count.get();
        lines.summary(labels, self.ns.get() as f64 / 1e9, count);
    }
}

/// A registered summary family.
#[derive(Debug, Clone)]
pub(super) struct Summaries<const N: usize>(Vector<Sum, N>);

impl<const N: usize> Summaries<N> {
    /// The sum with these label values, in the row's order; made with 0 if it is new.
    pub(super) fn with(&self, values: [&str; N]) -> Arc<Sum> {
        self.0.with(values, Sum::default)
    }

    /// As [`Vector::retain`].
    pub(super) fn retain(&self, stays: impl Fn(&[&str]) -> bool) {
        self.0.retain(stays);
    }
}
