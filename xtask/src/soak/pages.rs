//! What pages of metrics, one after the other, must have in common. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// Violations that are kept word for word; more are only counted.
const KEPT: usize = 10;

/// Follows the cumulative series of an agent from page to page.
#[derive(Debug, Default)]
pub struct Cumulative {
    last: BTreeMap<String, f64>,
    /// Series whose value became less, or which went away: what happened, for the first ones.
    pub violations: Vec<String>,
    /// All of them.
    pub count: u64,
}

impl Cumulative {
    /// Takes the next page.
    pub fn add(&mut self, page: &str) {
        let now = cumulative(page);
        let mut found = Vec::new();
        for (series, before) in &self.last {
            match now.get(series) {
                None => found.push(format!("{series} went away at {before}")),
                Some(after) if after < before => {
                    found.push(format!("{series} fell from {before} to {after}"))
                }
                Some(_) => {}
            }
        }
        self.count += found.len() as u64;
        let room = KEPT.saturating_sub(self.violations.len());
        self.violations.extend(found.into_iter().take(room));
        self.last = now;
    }

    /// Series that are followed.
    pub fn series(&self) -> usize {
        self.last.len()
    }
}

/// Every sample of a counter or a histogram.
fn cumulative(page: &str) -> BTreeMap<String, f64> {
    let families: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| {
            let (family, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
            matches!(kind, "counter" | "histogram").then_some(family)
        })
        .collect();
    let is_cumulative = |name: &str| {
        let parts = ["_bucket", "_count", "_sum", "_total"];
        families.contains(name)
            || parts.iter().any(|part| name.strip_suffix(part).is_some_and(|f| families.contains(f)))
    };
    let samples = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let name = series.split_once('{').map_or(series, |(name, _)| name);
        let value = value.parse::<f64>().ok()?;
        is_cumulative(name).then(|| (series.to_owned(), value))
    });
    samples.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(count: u32, lost: u32, gauge: u32) -> String {
        format!(
            "# TYPE a_seconds histogram\na_seconds_bucket{{le=\"1\"}} {count}\na_seconds_sum 0.5\n\
             a_seconds_count {count}\n# TYPE lost_total counter\nlost_total{{loss=\"map_full\"}} {lost}\n\
             # TYPE up gauge\nup {gauge}\n"
        )
    }

    #[test]
    fn what_grows_or_stays_is_in_order_and_gauges_may_fall() {
        let mut pages = Cumulative::default();
        pages.add(&page(1, 0, 9));
        pages.add(&page(1, 0, 3));
        pages.add(&page(4, 2, 5));
        assert_eq!((pages.count, pages.series()), (0, 4));
    }

    #[test]
    fn what_falls_or_goes_away_is_named_with_its_values() {
        let mut pages = Cumulative::default();
        pages.add(&page(4, 2, 5));
        pages.add(&page(3, 2, 5));
        assert_eq!(pages.count, 2);
        assert_eq!(pages.violations[0], "a_seconds_bucket{le=\"1\"} fell from 4 to 3");
        pages.add("");
        assert_eq!(pages.count, 6);
        assert!(pages.violations[5].starts_with("lost_total{loss=\"map_full\"} went away"), "{pages:?}");
    }

    #[test]
    fn only_the_first_ones_are_kept() {
        let mut pages = Cumulative::default();
        for at in 0..40 {
            pages.add(&page(100 - at, 0, 0));
        }
        assert_eq!((pages.count, pages.violations.len()), (78, KEPT));
    }
}
