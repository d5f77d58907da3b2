//! Sum and count, and nothing else: two series where a histogram would have thirty.

use super::families::{desc_of, family_of, label_pairs, register_collector};
use super::registry::Registry;
use crate::model::series::{Kind, Series};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Metric, MetricFamily, MetricType, Summary};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
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
        let summaries = Summaries { series: self.0, desc: Arc::new(desc_of(self.0)), all: Arc::default() };
        register_collector(registry, summaries.clone());
        summaries
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

/// The sums of a family, by their label values.
type BySeries<const N: usize> = BTreeMap<[String; N], Arc<Sum>>;

/// A registered summary family.
#[derive(Debug, Clone)]
pub(super) struct Summaries<const N: usize> {
    series: &'static Series,
    desc: Arc<Desc>,
    all: Arc<RwLock<BySeries<N>>>,
}

impl<const N: usize> Summaries<N> {
    /// The sum with these label values, in the row's order; made with 0 if it is new.
    pub(super) fn with(&self, values: [&str; N]) -> Arc<Sum> {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(values.map(str::to_owned)).or_default())
    }

    /// Removes every series whose label values, in the row's order, are not to stay. Handles of a removed
    /// one count into nothing.
    pub(super) fn retain(&self, stays: impl Fn(&[&str]) -> bool) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|values, _| stays(&values.each_ref().map(String::as_str)));
    }
}

impl<const N: usize> Collector for Summaries<N> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let metrics = all.iter().map(|(values, sum)| {
            let mut summary = Summary::default();
            summary.set_sample_count(sum.count.load(Ordering::Relaxed));
            summary.set_sample_sum(sum.ns.load(Ordering::Relaxed) as f64 / 1e9);
            let mut metric = Metric::default();
            metric.set_summary(summary);
            metric.set_label(label_pairs(self.series, values.iter().cloned()));
            metric
        });
        let metrics: Vec<_> = metrics.collect();
        vec![family_of(self.series, MetricType::SUMMARY, metrics)]
    }
}
