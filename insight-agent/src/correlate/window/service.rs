//! Means of what a service said of itself, beside the time that is in the ledger.

use crate::model::hop::HopEvidence;
use crate::model::window::ServiceWindow;
use std::collections::BTreeMap;

/// Sums over the good samples of one probe on one kind of connection.
#[derive(Debug, Default)]
pub(super) struct ServiceSums {
    times: [Mean; 2],
    ratios: [Mean; 3],
    rates: [Mean; 2],
    /// Bounded by what configuration lists.
    named: BTreeMap<String, Mean>,
}

/// A sum and the number of its terms.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl ServiceSums {
    /// Adds what one answer said; what it did not say is in no mean.
    pub(super) fn add(&mut self, said: &HopEvidence) {
        let times = [said.stats.server, said.stats.load_balancer];
        add(&mut self.times, times.map(|time| time.map(|time| time.seconds())));
        add(&mut self.ratios, said.load.ratios());
        add(&mut self.rates, said.load.rates());
        for (name, figure) in &said.load.named {
            self.named.entry(name.clone()).or_default().add(*figure);
        }
    }

    pub(super) fn finish(self) -> ServiceWindow {
        ServiceWindow {
            times: self.times.map(Mean::value),
            ratios: self.ratios.map(Mean::value),
            rates: self.rates.map(Mean::value),
            named: self.named.into_iter().filter_map(|(name, mean)| Some((name, mean.value()?))).collect(),
        }
    }
}

fn add<const N: usize>(means: &mut [Mean; N], figures: [Option<f64>; N]) {
    for (mean, figure) in means.iter_mut().zip(figures) {
        figure.into_iter().for_each(|figure| mean.add(figure));
    }
}

impl Mean {
    fn add(&mut self, figure: f64) {
        self.sum += figure;
        self.count += 1;
    }

    /// **None**: there was no term. A sum beyond every number is not shown either.
    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64).filter(|mean| mean.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::figure::Figure;
    use crate::model::hop::{ServerStats, ServiceLoad};

    fn said(server_ns: Option<i64>, cpu: Option<f64>, named: &[(&str, f64)]) -> HopEvidence {
        let named = named.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect();
        HopEvidence {
            stats: ServerStats { server: server_ns.map(Figure::exact), load_balancer: None },
            load: ServiceLoad { cpu, named, ..ServiceLoad::default() },
            ..HopEvidence::default()
        }
    }

    #[test]
    fn answers_that_say_nothing_are_in_no_mean() {
        let mut sums = ServiceSums::default();
        for said in [
            said(Some(1_000_000), Some(0.25), &[("queue", 2.0)]),
            said(None, None, &[]),
            said(Some(3_000_000), Some(0.75), &[("queue", 4.0), ("other", 0.0)]),
        ] {
            sums.add(&said);
        }
        let window = sums.finish();
        assert_eq!(window.times, [Some(0.002), None]);
        assert_eq!((window.ratios, window.rates), ([Some(0.5), None, None], [None, None]));
        assert_eq!(window.named, [("other".to_owned(), 0.0), ("queue".to_owned(), 3.0)]);
    }

    #[test]
    fn without_an_answer_nothing_is_known() {
        assert_eq!(ServiceSums::default().finish(), ServiceWindow::default());
    }
}
