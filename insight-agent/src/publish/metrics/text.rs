//! The exposition's text, in pieces: no more of a page is held than its readers have not taken yet.
//!
//! Text 0.0.4 is written straight from the figures. No series is copied on the way, and its labels are
//! escaped once for all of its lines.

use crate::model::series::{Kind, Series};
use std::fmt::Write;
use std::ops::ControlFlow;

/// A piece is given away when it is this long; less than what the allocator asks the kernel for apart.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// Room for the line with which a piece becomes long enough.
const LINE_BYTES: usize = 4 << 10;

/// What takes the pieces of a page, each of whole lines. It breaks when nobody wants the rest.
pub type Give<'a> = dyn FnMut(String) -> ControlFlow<()> + 'a;

/// A page while it is written.
pub(super) struct Text<'g> {
    piece: String,
    give: &'g mut Give<'g>,
    state: ControlFlow<()>,
}

impl<'g> Text<'g> {
    pub(super) fn new(give: &'g mut Give<'g>) -> Self {
        Self { piece: String::new(), give, state: ControlFlow::Continue(()) }
    }

    /// Whether somebody wants the rest.
    pub(super) fn is_wanted(&self) -> bool {
        self.state.is_continue()
    }

    /// Gives away what is left.
    pub(super) fn finish(mut self) {
        if !self.piece.is_empty() {
            self.give();
        }
    }

    fn end_line(&mut self) {
        self.piece.push('\n');
        if self.piece.len() >= PIECE_BYTES {
            self.give();
        }
    }

    fn give(&mut self) {
        let piece = std::mem::take(&mut self.piece);
        if self.is_wanted() {
            self.state = (self.give)(piece);
        }
    }

    fn push(&mut self, parts: &[&str]) {
        if self.piece.capacity() == 0 {
            self.piece.reserve(PIECE_BYTES + LINE_BYTES);
        }
        parts.iter().for_each(|part| self.piece.push_str(part));
    }
}

/// The lines of one family; without a series there are none.
pub(super) struct Lines<'t, 'g> {
    text: &'t mut Text<'g>,
    series: &'static Series,
    is_begun: bool,
    /// The last series' labels, escaped: `a="x",b="y"`.
    pairs: String,
    /// A histogram's bounds as text.
    bounds: Vec<String>,
}

impl<'t, 'g> Lines<'t, 'g> {
    pub(super) fn of(series: &'static Series, text: &'t mut Text<'g>) -> Self {
        let bounds = if let Kind::Histogram(bounds) = series.kind { bounds } else { &[] };
        let bounds = bounds.iter().map(f64::to_string).collect();
        Self { text, series, is_begun: false, pairs: String::new(), bounds }
    }

    /// A counter, a gauge or a number of unknown kind.
    pub(super) fn number<'a>(&mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>, value: f64) {
        self.begin_series(labels);
        self.sample("", value);
    }

    /// A counter.
    pub(super) fn count<'a>(&mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>, count: u64) {
        self.number(labels, count as f64);
    }

    /// A sum and its count.
    pub(super) fn summary<'a>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        sum: f64,
        count: u64,
    ) {
        self.begin_series(labels);
        self.sample("_sum", sum);
        self.sample("_count", count as f64);
    }

    /// A histogram: how many were at most each of the row's bounds, and all.
    pub(super) fn histogram<'a>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        below: impl IntoIterator<Item = u64>,
        sum: f64,
        count: u64,
    ) {
        self.begin_series(labels);
        let comma = if self.pairs.is_empty() { "" } else { "," };
        let mut bucket = |bound: &str, count: u64| {
            let head = [self.series.name, "_bucket{", &self.pairs, comma, "le=\"", bound, "\"} "];
            self.text.push(&head);
            push_number(&mut self.text.piece, count as f64);
            self.text.end_line();
        };
        for (bound, count) in self.bounds.iter().zip(below) {
            bucket(bound, count);
        }
        bucket("+Inf", count);
        self.sample("_sum", sum);
        self.sample("_count", count as f64);
    }

    fn begin_series<'a>(&mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.begin();
        self.pairs.clear();
        for (name, value) in labels {
            if !self.pairs.is_empty() {
                self.pairs.push(',');
            }
            self.pairs.push_str(name);
            self.pairs.push_str("=\"");
            push_escaped(&mut self.pairs, value, true);
            self.pairs.push('"');
        }
    }

    /// The family's head, in front of its first series.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        let Series { name, help, kind, .. } = self.series;
        if !help.is_empty() {
            self.text.push(&["# HELP ", name, " "]);
            push_escaped(&mut self.text.piece, help, false);
            self.text.end_line();
        }
        self.text.push(&["# TYPE ", name, " ", name_of(*kind)]);
        self.text.end_line();
    }

    fn sample(&mut self, suffix: &str, value: f64) {
        let name = self.series.name;
        if self.pairs.is_empty() {
            self.text.push(&[name, suffix, " "]);
        } else {
            self.text.push(&[name, suffix, "{", &self.pairs, "} "]);
        }
        push_number(&mut self.text.piece, value);
        self.text.end_line();
    }
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Untyped => "untyped",
        Kind::Histogram(_) => "histogram",
        Kind::Summary => "summary",
    }
}

/// A label's value or, without quotes to be escaped, a help text.
fn push_escaped(text: &mut String, value: &str, quotes: bool) {
    let is_plain = |byte: u8| byte != b'\\' && byte != b'\n' && (byte != b'"' || !quotes);
    if value.bytes().all(is_plain) {
        return text.push_str(value);
    }
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes => text.push_str("\\\""),
            other => text.push(other),
        }
    }
}

/// The shortest text that is read as this number.
fn push_number(text: &mut String, value: f64) {
    /// Whole numbers below are written digit by digit, which is what the general way writes, and faster.
    const WHOLE_BELOW: f64 = (1_u64 << 53) as f64;
    if value.is_sign_positive() && value < WHOLE_BELOW && value.fract() == 0.0 {
        return push_whole(text, value as u64);
    }
    // Writing to a String cannot fail.
    let _ = write!(text, "{value}");
}

fn push_whole(text: &mut String, mut rest: u64) {
    // Of 20 digits at most.
    let mut digits = ['0'; 20];
    let mut begin = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = char::from(b'0' + (rest % 10) as u8);
        begin -= 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    text.extend(&digits[begin..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::series::Label;
    use crate::model::series::Values::Constant;
    use prometheus::core::Collector;
    use prometheus::proto::MetricType;
    use prometheus::{Gauge, Histogram, HistogramOpts, Opts, TextEncoder};
    use proptest::prelude::*;

    const LABELS: &[Label] =
        &[Label { name: "a", values: Constant("") }, Label { name: "b", values: Constant("") }];

    const fn row(kind: Kind, labels: &'static [Label]) -> Series {
        Series { name: "row", help: "A \\ help\n of \"two\" lines.", kind, labels, bound: "" }
    }

    const GAUGE: Series = row(Kind::Gauge, LABELS);
    const BOUNDS: &[f64] = &[1e-7, 0.25, 1.0, 3e21];
    const HISTOGRAM: Series = row(Kind::Histogram(BOUNDS), LABELS);
    const ALONE: Series = row(Kind::Histogram(BOUNDS), &[]);

    fn written(series: &'static Series, write: impl FnOnce(&mut Lines<'_, '_>)) -> String {
        let mut whole = String::new();
        let mut give = |piece: String| {
            whole += &piece;
            ControlFlow::Continue(())
        };
        let mut text = Text::new(&mut give);
        write(&mut Lines::of(series, &mut text));
        text.finish();
        whole
    }

    /// What the `prometheus` crate makes of the same.
    fn oracle(metric: &impl Collector, labels: &[(&str, &str)]) -> String {
        let mut families = metric.collect();
        let pairs = labels.iter().map(|(name, value)| {
            let mut pair = prometheus::proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        families[0].mut_metric()[0].set_label(pairs.collect());
        TextEncoder::new().encode_to_string(&families).unwrap()
    }

    fn histogram(values: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(HISTOGRAM.name, HISTOGRAM.help).buckets(BOUNDS.to_vec());
        let histogram = Histogram::with_opts(opts).unwrap();
        values.iter().for_each(|value| histogram.observe(*value));
        histogram
    }

    fn numbers() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            (0..100_u64, 0..64_u32).prop_map(|(near, power)| ((1_u64 << power) as f64) + near as f64),
            Just(-0.0),
            Just(0.0),
            any::<i64>().prop_map(|whole| whole as f64),
        ]
    }

    proptest! {
        #[test]
        fn the_text_is_that_of_the_prometheus_crate(
            a in any::<String>(), b in "[\"\\\\\na]*", value in numbers(),
            durations in proptest::collection::vec(0.0..4e21, 0..6),
        ) {
            let labels = [("a", a.as_str()), ("b", b.as_str())];
            let gauge = Gauge::with_opts(Opts::new(GAUGE.name, GAUGE.help)).unwrap();
            gauge.set(value);
            prop_assert_eq!(written(&GAUGE, |lines| lines.number(labels, value)), oracle(&gauge, &labels));

            let below = |bound: &f64| durations.iter().filter(|value| *value <= bound).count() as u64;
            // In the order in which the crate adds them; the sum of none would be -0.
            let (sum, count) = (durations.iter().fold(0.0, |sum, value| sum + value), durations.len() as u64);
            let metric = histogram(&durations);
            let ours = written(&HISTOGRAM, |lines| {
                lines.histogram(labels, BOUNDS.iter().map(below), sum, count);
            });
            prop_assert_eq!(ours, oracle(&metric, &labels));
            let ours = written(&ALONE, |lines| lines.histogram([], BOUNDS.iter().map(below), sum, count));
            prop_assert_eq!(ours, oracle(&metric, &[]));
        }
    }

    #[test]
    fn kinds_are_called_as_the_prometheus_crate_calls_them() {
        for (kind, theirs) in [
            (Kind::Counter, MetricType::COUNTER),
            (Kind::Gauge, MetricType::GAUGE),
            (Kind::Summary, MetricType::SUMMARY),
            (Kind::Histogram(&[]), MetricType::HISTOGRAM),
            (Kind::Untyped, MetricType::UNTYPED),
        ] {
            assert_eq!(name_of(kind), format!("{theirs:?}").to_lowercase());
        }
    }

    #[test]
    fn pieces_are_of_whole_lines_and_no_longer_than_they_need_to_be() {
        let mut pieces = Vec::new();
        let mut give = |piece: String| {
            pieces.push(piece);
            ControlFlow::Continue(())
        };
        let mut text = Text::new(&mut give);
        let mut lines = Lines::of(&GAUGE, &mut text);
        for at in 0..20_000 {
            lines.number([("a", at.to_string().as_str())], 1.0);
        }
        text.finish();
        let (last, full) = pieces.split_last().unwrap();
        assert!(full.len() > 3);
        for piece in full {
            assert!((PIECE_BYTES..PIECE_BYTES + 100).contains(&piece.len()), "{}", piece.len());
            assert!(piece.capacity() <= PIECE_BYTES + LINE_BYTES, "it never grew: {}", piece.capacity());
        }
        assert!(!last.is_empty() && pieces.iter().all(|piece| piece.ends_with('\n')));
        assert_eq!(pieces.concat().lines().count(), 20_002);
    }

    #[test]
    fn nothing_is_given_to_who_wants_no_more() {
        let mut given = 0;
        let mut give = |_| {
            given += 1;
            ControlFlow::Break(())
        };
        let mut text = Text::new(&mut give);
        let mut lines = Lines::of(&GAUGE, &mut text);
        for at in 0..20_000 {
            lines.number([("a", at.to_string().as_str())], 1.0);
        }
        assert!(!text.is_wanted());
        text.finish();
        assert_eq!(given, 1);
    }
}
