use super::*;

const SCRAPE: &str = r##"# HELP latency_seconds What it took, with a \\ and a\nnew line.
# TYPE latency_seconds histogram
latency_seconds_bucket{path="a",le="0.1"} 1
latency_seconds_bucket{path="a",le="0.2"} 3
latency_seconds_bucket{path="a",le="+Inf"} 4
latency_seconds_sum{path="a"} 0.9
latency_seconds_count{path="a"} 4
# a comment
# TYPE up gauge
up 1
up{name="quote \" slash \\ line \n done", unit = "µs",} -2.5e-3 1700000000000

plain_count 7
"##;

fn scrape() -> Exposition {
    Exposition::parse(SCRAPE).unwrap()
}

#[test]
fn families_have_name_type_help_and_samples() {
    let families = scrape().families;
    assert_eq!(families.keys().collect::<Vec<_>>(), ["latency_seconds", "plain_count", "up"]);
    let latency = &families["latency_seconds"];
    assert_eq!(latency.kind, Type::Histogram);
    assert_eq!(latency.help.as_deref(), Some("What it took, with a \\ and a\nnew line."));
    assert_eq!(latency.samples.len(), 5);
    assert_eq!(families["plain_count"].kind, Type::Untyped);
    assert_eq!(families["up"].help, None);
}

#[test]
fn label_values_are_unescaped() {
    let scrape = scrape();
    let sample = scrape.samples("up", &[("unit", "µs")]).next().unwrap();
    assert_eq!(sample.labels["name"], "quote \" slash \\ line \n done");
    assert_eq!(sample.value, -2.5e-3);
}

#[test]
fn value_wants_exactly_one_sample() {
    let scrape = scrape();
    assert_eq!(scrape.value("up", &[("unit", "µs")]), Some(-2.5e-3));
    assert_eq!(scrape.value("up", &[]), None, "two samples match");
    assert_eq!(scrape.value("up", &[("unit", "s")]), None);
    assert_eq!(scrape.value("latency_seconds_sum", &[("path", "a")]), Some(0.9));
    assert_eq!(scrape.sum("up", &[]), Some(1.0 - 2.5e-3));
    assert_eq!(scrape.sum("down", &[]), None);
}

#[test]
fn histogram_gives_mean_and_interpolated_quantiles() {
    let histogram = scrape().histogram("latency_seconds", &[("path", "a")]).unwrap();
    assert_eq!(histogram.buckets, [(0.1, 1.0), (0.2, 3.0), (f64::INFINITY, 4.0)]);
    assert_eq!(histogram.mean(), Some(0.225));
    assert!((histogram.quantile(0.5).unwrap() - 0.15).abs() < 1e-9);
    assert_eq!(histogram.quantile(0.25), Some(0.1));
    assert_eq!(histogram.quantile(0.99), Some(0.2), "the infinite bucket reads as its lower bound");
    assert_eq!(scrape().histogram("latency_seconds", &[("path", "b")]), None);
    assert_eq!(scrape().histogram("up", &[]), None);
}

#[test]
fn difference_of_two_scrapes_is_a_histogram() {
    let earlier = scrape().histogram("latency_seconds", &[]).unwrap();
    let mut now = earlier.clone();
    (now.buckets[2].1, now.count, now.sum) = (6.0, 6.0, 4.9);
    let since = now.since(&earlier).unwrap();
    assert_eq!((since.count, since.buckets[2].1, since.buckets[0].1), (2.0, 2.0, 0.0));
    assert!((since.mean().unwrap() - 2.0).abs() < 1e-9);
    assert_eq!(earlier.since(&now), None, "a count that fell is a restart");
}

#[test]
fn empty_histogram_has_no_mean_and_no_quantile() {
    let empty = Histogram { buckets: vec![(0.1, 0.0), (f64::INFINITY, 0.0)], sum: 0.0, count: 0.0 };
    assert_eq!((empty.mean(), empty.quantile(0.5)), (None, None));
}

#[test]
fn special_values_are_read() {
    let scrape = Exposition::parse("a NaN\nb +Inf\nc -Inf\nd 1e9\n").unwrap();
    assert!(scrape.value("a", &[]).unwrap().is_nan());
    assert_eq!(scrape.value("b", &[]), Some(f64::INFINITY));
    assert_eq!(scrape.value("c", &[]), Some(f64::NEG_INFINITY));
    assert_eq!(scrape.value("d", &[]), Some(1e9));
}

#[test]
fn bad_lines_are_refused_with_their_number() {
    let table = [
        ("a 1\na 2\n", 2, "there before"),
        ("a{x=\"1\"} 1\na{x=\"1\"} 1\n", 2, "there before"),
        ("a{x=\"1\",x=\"2\"} 1\n", 1, "twice"),
        ("# TYPE a gauge\n# TYPE a gauge\n", 2, "second TYPE"),
        ("# HELP a x\n# HELP a x\n", 2, "second HELP"),
        ("# TYPE a speed\n", 1, "does not exist"),
        ("a 1\n# TYPE a gauge\n", 2, "after a sample"),
        ("a 1\nb 1\na{x=\"1\"} 1\n", 3, "stand apart"),
        ("a{x=\"\\t\"} 1\n", 1, "escape"),
        ("# HELP a \\t\n", 1, "escape"),
        ("a{x=\"1} 1\n", 1, "closing quote"),
        ("a{x=1} 1\n", 1, "opening quote"),
        ("a{x=\"1\" y=\"2\"} 1\n", 1, "neither"),
        ("a{x} 1\n", 1, "without ="),
        ("a one\n", 1, "not a number"),
        ("a infinity\n", 1, "not a number"),
        ("a 1 soon\n", 1, "timestamp"),
        ("a 1 2 3\n", 1, "after the timestamp"),
        ("a\n", 1, "no value"),
        ("a{x=\"1\"}\n", 1, "no value"),
        ("1a 1\n", 1, "metric name"),
        ("a{1x=\"\"} 1\n", 1, "label name"),
        ("ok 1\na 1", 2, "no end"),
    ];
    for (text, line, problem) in table {
        let error = Exposition::parse(text).unwrap_err();
        assert!(error.line == line && error.problem.contains(problem), "{text:?}: {error}");
    }
}
