//! What a page of metrics says. Pure.

/// Sample lines: what Prometheus stores as a series each.
pub fn series(page: &str) -> usize {
    page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

/// All samples of `name` whose labels hold every pair in `labels`.
pub fn samples(page: &str, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
    let wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let values = page.lines().filter_map(|line| {
        let (sample, value) = line.rsplit_once(' ')?;
        let rest = sample.strip_prefix(name)?;
        // No labels at all, or nothing but labels: another family may begin with this one's name.
        let pairs = match rest {
            "" => "",
            _ => rest.strip_prefix('{')?.strip_suffix('}')?,
        };
        let holds = |pair: &String| pairs.split(',').any(|found| found == pair);
        wanted.iter().all(holds).then(|| value.parse::<f64>().ok())?
    });
    values.collect()
}

/// The sum of such samples. **None**: there is none.
pub fn sum(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    samples(page, name, labels).into_iter().reduce(|a, b| a + b)
}

/// Values and their sum in a histogram, cumulative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    /// How many.
    pub count: f64,
    /// Their sum. **Unit**: the family's.
    pub sum: f64,
}

impl Counted {
    /// Of the histogram `family`. **None**: the page has no such histogram.
    pub fn read(page: &str, family: &str, labels: &[(&str, &str)]) -> Option<Self> {
        Some(Self {
            count: sum(page, &format!("{family}_count"), labels)?,
            sum: sum(page, &format!("{family}_sum"), labels)?,
        })
    }

    /// The mean of what was added since `earlier`. **None**: nothing was.
    pub fn mean_since(self, earlier: Self) -> Option<f64> {
        let count = self.count - earlier.count;
        (count > 0.0).then(|| (self.sum - earlier.sum) / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# HELP a_seconds Some figure.
# TYPE a_seconds histogram
a_seconds_bucket{probe=\"x\",le=\"1\"} 3
a_seconds_sum{probe=\"x\"} 0.75
a_seconds_count{probe=\"x\"} 3
a_seconds_sum{probe=\"xy\"} 9
a_seconds_count{probe=\"xy\"} 1
a_seconds_count_other{probe=\"x\"} 100

up 1
";

    #[test]
    fn every_line_that_is_no_comment_is_a_series() {
        assert_eq!(series(PAGE), 7);
        assert_eq!(series(""), 0);
    }

    #[test]
    fn samples_are_told_by_their_whole_name_and_whole_label_values() {
        assert_eq!(sum(PAGE, "a_seconds_count", &[("probe", "x")]), Some(3.0));
        assert_eq!(sum(PAGE, "a_seconds_count", &[]), Some(4.0));
        assert_eq!(samples(PAGE, "a_seconds_count", &[]), [3.0, 1.0]);
        assert_eq!(sum(PAGE, "up", &[]), Some(1.0));
        assert_eq!(sum(PAGE, "a_seconds_count", &[("probe", "z")]), None);
        assert_eq!(sum(PAGE, "a_seconds", &[]), None);
    }

    #[test]
    fn a_mean_is_of_what_was_added_only() {
        let earlier = Counted { count: 1.0, sum: 0.5 };
        let now = Counted::read(PAGE, "a_seconds", &[("probe", "x")]).unwrap();
        assert_eq!(now.mean_since(earlier), Some(0.125));
        assert_eq!(now.mean_since(now), None);
    }
}
