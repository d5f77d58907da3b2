//! The ledgers as a table: one row per entry of the path.
//!
//! Where the nodes report, the window's ledger stands beside the probe's; else the probe's has
//! the table for itself.

use super::ledgers::{Entry, Ledgers};
use super::paint::{Palette, clip, milliseconds};
use super::status::{Ledger, Segment};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Least width of the names.
pub const NAME: usize = 24;
/// What the longest name may take, as a part of the width.
const NAME_SHARE: usize = 3;
/// Cells below which a bar is left out.
const LEAST_BAR: usize = 5;
/// From this width on there is room for bounds, bars and whole words.
const WIDE: usize = 100;

/// The table, heading first.
pub fn lines(ledgers: Ledgers<'_>, width: usize, style: Palette) -> Vec<Line<'static>> {
    let Some(first) = ledgers.first() else {
        return vec![Line::styled(" waiting for the first complete window", style.faint())];
    };
    let entries = ledgers.entries();
    let longest = entries.iter().map(|entry| entry.name.chars().count()).max().unwrap_or(0);
    let columns = Columns::fit(width, longest, ledgers.window.is_some());
    let mut lines = vec![Line::styled(columns.heading(first.probe.as_deref().unwrap_or("—")), style.faint())];
    let largest = entries.iter().filter_map(|entry| entry.main()?.seconds).fold(0.0, f64::max);
    for entry in &entries {
        let main = entry.main().and_then(|segment| segment.seconds);
        let row = Row {
            name: entry.name.clone(),
            seconds: [entry.probe, entry.window].map(|segment| segment?.seconds),
            bound: entry.main().and_then(|segment| segment.bound_seconds),
            source: columns.sources(entry),
            count: columns.counts(entry.probe.map(|s| s.count), entry.window.map(|s| s.count)),
            age: entry.window.map(|segment| age(segment.age_seconds.or(ledgers.window_age()))),
            emphasis: largest > 0.0 && main == Some(largest),
        };
        lines.push(row.line(first.end_to_end_seconds, columns, style));
    }
    let both = [ledgers.probe, ledgers.window];
    let rest = Row {
        name: "unexplained".into(),
        seconds: both.map(|ledger| ledger?.unexplained_seconds),
        ..Row::default()
    };
    lines.push(rest.line(first.end_to_end_seconds, columns, style));
    let total = Row {
        name: "end to end".into(),
        seconds: both.map(|ledger| ledger?.end_to_end_seconds),
        source: "prober".into(),
        count: columns.counts(ledgers.probe.map(|l| l.count), ledgers.window.map(|l| l.count)),
        age: ledgers.window.map(|ledger| age(ledger.age_seconds)),
        ..Row::default()
    };
    let mut total = total.line(None, columns, style);
    total.style = style.strong();
    lines.push(total);
    lines
}

impl Ledgers<'_> {
    fn window_age(&self) -> Option<f64> {
        self.window.and_then(|ledger: &Ledger| ledger.age_seconds)
    }
}

impl<'a> Entry<'a> {
    /// The probe's figure; where its ledger has no such entry, the nodes'.
    fn main(&self) -> Option<&'a Segment> {
        self.probe.or(self.window)
    }
}

// ---- Columns -------------------------------------------------------------------------------

/// Widths of the table, in cells.
#[derive(Debug, Clone, Copy)]
struct Columns {
    name: usize,
    figure: usize,
    /// 0: no bounds.
    bound: usize,
    /// 0: no bar.
    bar: usize,
    source: usize,
    count: usize,
    /// 0: no window ledger, and so no column of it.
    age: usize,
    wide: bool,
}

impl Columns {
    fn fit(width: usize, longest: usize, both: bool) -> Self {
        let wide = width >= WIDE;
        let mut columns = match (both, wide) {
            (false, _) => Self { figure: 9, source: 19, count: 6, age: 0, ..Self::none(wide) },
            (true, false) => Self { figure: 8, source: 18, count: 8, age: 6, ..Self::none(wide) },
            (true, true) => Self { figure: 9, source: 31, count: 10, age: 7, ..Self::none(wide) },
        };
        columns.bound = if wide && !both { columns.figure } else { 0 };
        let used = columns.figures() + columns.bound + columns.source + columns.count + columns.age + 4;
        let room = width.saturating_sub(used);
        columns.name = longest.clamp(NAME, (width / NAME_SHARE).max(NAME)).min(room);
        match room - columns.name {
            // A bar that short shows nothing: better whole words.
            left if left < LEAST_BAR => columns.source += left + 1,
            left => columns.bar = left,
        }
        columns
    }

    fn none(wide: bool) -> Self {
        Self { name: 0, figure: 0, bound: 0, bar: 0, source: 0, count: 0, age: 0, wide }
    }

    fn both(&self) -> bool {
        self.age > 0
    }

    /// The bar and the blank behind it.
    fn gap(&self) -> usize {
        if self.bar > 0 { self.bar + 1 } else { 0 }
    }

    /// Of both ledgers' figures.
    fn figures(&self) -> usize {
        if self.both() { 2 * self.figure } else { self.figure }
    }

    fn heading(&self, probe: &str) -> String {
        let Self { name, figure, bound, bar, source, count, age, .. } = *self;
        let gap = self.gap();
        let (title, figures, evidence) = if self.both() {
            let figures = format!("{:>figure$}{:>figure$}", "probe", "window");
            let evidence = if self.wide { "evidence (*: all traffic)" } else { "evidence (*: all)" };
            (format!("{probe}, ms"), figures, evidence)
        } else {
            (format!("{probe}, last window"), format!("{:>figure$}", "ms"), "evidence")
        };
        format!(
            " {:<name$}{figures}{:>bound$}  {:<gap$}{:<source$}{:>count$}{:>age$}",
            clip(&title, name),
            if bound > 0 { "±" } else { "" },
            clip("share", bar),
            clip(evidence, source),
            "n",
            if age > 0 { "age" } else { "" },
        )
    }

    /// What the figures rest on.
    fn sources(&self, entry: &Entry<'_>) -> String {
        let text = |segment: Option<&Segment>| segment.map_or("—".into(), |s| self.source_of(s));
        match self.both() {
            false => text(entry.probe),
            true if self.wide => format!("{} / {}", text(entry.probe), text(entry.window)),
            true => format!("{}/{}", text(entry.probe), text(entry.window)),
        }
    }

    fn source_of(&self, segment: &Segment) -> String {
        let source = segment.source.as_deref().unwrap_or("—");
        let short = match source {
            "header_difference" => "difference",
            "hop_header" => "header",
            other => other,
        };
        let all = segment.population.as_deref() == Some("all");
        match (segment.inconsistent, self.both()) {
            (0, false) if all => format!("{source}, all"),
            (0, false) => source.into(),
            (count, false) => format!("{source}, {count} bad"),
            (0, true) => {
                // Nothing measured is of no population.
                let star = if all && segment.source.is_some() { "*" } else { "" };
                format!("{}{star}", if self.wide { source } else { short })
            }
            (count, true) => format!("{count} bad"),
        }
    }

    fn counts(&self, probe: Option<u64>, window: Option<u64>) -> String {
        match self.both() {
            false => probe.map_or(String::new(), |count| count.to_string()),
            true => format!("{}/{}", short_count(probe), short_count(window)),
        }
    }
}

/// At most four characters: `137`, `1.1k`, `48k`, `2M`.
fn short_count(count: Option<u64>) -> String {
    match count {
        None => "—".into(),
        Some(count @ ..1_000) => count.to_string(),
        Some(count @ ..10_000) => format!("{}.{}k", count / 1_000, count % 1_000 / 100),
        Some(count @ ..1_000_000) => format!("{}k", count / 1_000),
        Some(count) => format!("{}M", count / 1_000_000),
    }
}

/// `0.4s`, `12s`; `—` where it is not known.
fn age(seconds: Option<f64>) -> String {
    match seconds {
        None => "—".into(),
        Some(seconds) if seconds < 9.95 => format!("{seconds:.1}s"),
        Some(seconds) => format!("{seconds:.0}s"),
    }
}

// ---- Rows ----------------------------------------------------------------------------------

#[derive(Debug, Default)]
struct Row {
    name: String,
    /// The probe's and the window's.
    seconds: [Option<f64>; 2],
    bound: Option<f64>,
    source: String,
    count: String,
    age: Option<String>,
    emphasis: bool,
}

impl Row {
    /// `whole`: what a full bar stands for; without it there is no bar.
    fn line(&self, whole_seconds: Option<f64>, columns: Columns, style: Palette) -> Line<'static> {
        let Columns { name, figure, bound, bar, source, count, age, .. } = columns;
        let gap = columns.gap();
        let mut text =
            format!(" {:<name$}{:>figure$}", clip(&self.name, name), milliseconds(self.seconds[0]));
        if columns.both() {
            text += &format!("{:>figure$}", milliseconds(self.seconds[1]));
        }
        if bound > 0 {
            text += &format!("{:>bound$}", self.bound.map_or(String::new(), |b| milliseconds(Some(b))));
        }
        let share = match (self.seconds[0].or(self.seconds[1]), whole_seconds) {
            (Some(part), Some(whole)) if whole > 0.0 => part / whole,
            _ => 0.0,
        };
        let tail = format!(
            "{:<source$}{:>count$}{:>age$}",
            clip(&self.source, source),
            clip(&self.count, count),
            clip(self.age.as_deref().unwrap_or(""), age)
        );
        Line::from(vec![
            Span::styled(text, if self.emphasis { style.strong() } else { Style::new() }),
            Span::raw("  "),
            Span::styled(format!("{:<gap$}", bar_of(share, bar)), style.bar(self.emphasis)),
            Span::styled(tail, style.faint()),
        ])
    }
}

/// A bar of `share` of `width` cells, in eighths of a cell. A share below 0 has none; one that is
/// not nothing has at least an eighth.
fn bar_of(share: f64, width: usize) -> String {
    const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let full = width * 8;
    let mut eighths = ((share.clamp(0.0, 1.0) * full as f64).round() as usize).min(full);
    if share > 0.0 && width > 0 {
        eighths = eighths.max(1);
    }
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(eighths.checked_rem(8).and_then(|rest| EIGHTHS.get(rest.checked_sub(1)?)));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_proportional_and_a_small_share_is_still_seen() {
        assert_eq!(bar_of(0.5, 10), "█████");
        assert_eq!(bar_of(1.7, 4), "████");
        assert_eq!(bar_of(0.55, 10), "█████▌");
        assert_eq!(bar_of(0.0001, 10), "▏");
        assert_eq!(bar_of(0.0, 10), "");
        assert_eq!(bar_of(-0.2, 10), "");
    }

    #[test]
    fn counts_and_ages_keep_to_their_columns_and_unknown_is_no_zero() {
        let counts = [None, Some(0), Some(999), Some(1_139), Some(48_900), Some(2_000_000)];
        assert_eq!(counts.map(short_count), ["—", "0", "999", "1.1k", "48k", "2M"]);
        assert_eq!([None, Some(0.44), Some(12.4)].map(age), ["—", "0.4s", "12s"]);
    }
}
