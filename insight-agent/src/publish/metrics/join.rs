//! Writes each histogram's labels once instead of once per line.
//!
//! The encoder writes a pair as `name="value"`, the name as it is and the value escaped, again on
//! each of a histogram's 33 lines. So all pairs but the last become the beginning of one name, with
//! their values escaped here: five pairs cost as much as one, and the text is the same.

use prometheus::proto::{LabelPair, MetricFamily, MetricType};

/// Joins the labels of every histogram. Whoever sorts or compares labels does so before.
pub(super) fn join_labels(families: &mut [MetricFamily]) {
    let histograms = families.iter_mut().filter(|family| family.get_field_type() == MetricType::HISTOGRAM);
    for metric in histograms.flat_map(|family| family.mut_metric().iter_mut()) {
        let mut pairs = metric.take_label();
        if let Some(mut last) = pairs.pop() {
            last.set_name(name_of(&pairs, last.name()));
            metric.set_label(vec![last]);
        }
    }
}

/// Every pair in front, as the encoder writes it, then the last one's name.
fn name_of(pairs: &[LabelPair], last: &str) -> String {
    let mut joined = String::with_capacity(128);
    for pair in pairs {
        joined.push_str(pair.name());
        joined.push_str("=\"");
        for character in pair.value().chars() {
            match character {
                '\\' => joined.push_str("\\\\"),
                '"' => joined.push_str("\\\""),
                '\n' => joined.push_str("\\n"),
                other => joined.push(other),
            }
        }
        joined.push_str("\",");
    }
    joined.push_str(last);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

    #[test]
    fn the_text_is_the_same_with_any_label_values() {
        let registry = Registry::new();
        let opts = || HistogramOpts::new("many_seconds", "Of three labels.").buckets(vec![0.5, 1.0]);
        let many = HistogramVec::new(opts(), &["a", "b", "c"]).unwrap();
        for values in [["x", "y", "z"], ["\"", "back\\slash", "two\nlines"], ["", "ü,{}=", "\\n\""]] {
            many.with_label_values(&values).observe(0.7);
        }
        let mut none = opts();
        none.common_opts.name = "none_seconds".to_owned();
        let none = HistogramVec::new(none, &[]).unwrap();
        none.with_label_values::<&str>(&[]).observe(2.0);
        let counter = IntCounterVec::new(Opts::new("some_total", "No histogram."), &["a", "b"]).unwrap();
        counter.with_label_values(&["x\"", "y"]).inc();
        registry.register(Box::new(many)).unwrap();
        registry.register(Box::new(none)).unwrap();
        registry.register(Box::new(counter)).unwrap();

        let mut families = registry.gather();
        let expected = TextEncoder::new().encode_to_string(&families).unwrap();
        join_labels(&mut families);
        assert!(families[0].get_metric().iter().all(|metric| metric.get_label().len() == 1));
        assert_eq!(TextEncoder::new().encode_to_string(&families).unwrap(), expected);
    }
}
