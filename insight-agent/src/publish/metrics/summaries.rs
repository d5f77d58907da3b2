//! Sum and count, and nothing else: two series where a histogram would have thirty.

use super::families::{Figure, Vector};
use super::registry::Registry;
use super::text::Lines;
use crate::model::series::{Kind, Series};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
#[derive(Debug, Default)]
pub(super) struct Sum {
    ns: AtomicU64,
    count: AtomicU64,
}

impl Sum {
    /// Adds a duration. Two at once are both counted; a scrape between the two additions of one sees its
    /// time and not yet its count.
    pub(super) fn observe(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.ns.fetch_add(ns, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Figure for Sum {
    fn write<'a>(&self, lines: &mut Lines<'_, '_>, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let count = self.count.load(Ordering::Relaxed);
        lines.summary(labels, self.ns.load(Ordering::Relaxed) as f64 / 1e9, count);
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
