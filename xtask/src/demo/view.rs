//! What the demo shows, as lines of text: the path, the ledger, the probes, the state of things.
//!
//! Pure: a [`View`] and a size in, lines out. The live view and the plain snapshots are the same
//! lines; only colour differs. What is not known is `—`, never 0.

use super::chain;
use super::paint::{Palette, clip, milliseconds};
use super::status::{Ledger, Probe, Segment, Status};
use ratatui::Frame;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::time::Duration;

/// Everything one picture is made of.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The last answer. **None**: the agent has not answered yet.
    pub status: Option<Status>,
    /// Which forwarder stands on the path.
    pub forwarder: String,
    /// Time since the lab was ready.
    pub elapsed: Duration,
    /// When the demo ends by itself. **None**: when somebody quits.
    pub duration: Option<Duration>,
    /// Faults that are active.
    pub faults: Vec<String>,
    /// Faults that are to come, and when.
    pub coming: Option<(Vec<String>, Duration)>,
    /// Requests per second beside the probes.
    pub background_rps: f64,
    /// Something the onlooker has to know: the agent does not answer, an address.
    pub notice: Option<String>,
    /// What quits; empty in a plain snapshot.
    pub hint: String,
    /// Whether colour is welcome (`NO_COLOR` is not set).
    pub colour: bool,
}

/// Draws the whole picture.
pub fn draw(frame: &mut Frame, view: &View) {
    let area = frame.area();
    frame.render_widget(Paragraph::new(view.lines(area.width, area.height)), area);
}

/// Columns of the tables; the bar takes what is left.
const NAME: usize = 24;
/// What the longest segment's name may take of the ledger's table, as a part of the width.
const NAME_SHARE: usize = 3;
const FIGURE: usize = 9;
const SOURCE: usize = 19;
const COUNT: usize = 6;
/// From this width on there is room for the bound beside each figure.
const WIDE: usize = 100;

impl View {
    /// The picture as lines that fit `width`; with `height` to spare, parts are set apart by
    /// blank lines.
    pub fn lines(&self, width: u16, height: u16) -> Vec<Line<'static>> {
        let width = usize::from(width.max(40)) - 1;
        let parts = [
            vec![self.title(width)],
            chain::lines(self.ledger(), width, self.style()),
            self.ledger_lines(width),
            self.probe_lines(width),
            self.state_lines(width),
        ];
        let used: usize = parts.iter().map(Vec::len).sum();
        let mut spare = usize::from(height).saturating_sub(used);
        let mut lines = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            if !lines.is_empty() && spare > 0 {
                spare -= 1;
                lines.push(Line::default());
            }
            lines.extend(part);
        }
        lines
    }

    /// The main probe's own ledger, of its last window.
    fn ledger(&self) -> Option<&Ledger> {
        let status = self.status.as_ref()?;
        let main = status.main_probe().map(|probe| probe.probe.as_str());
        let ledgers = || status.paths.iter().flat_map(|path| &path.ledgers);
        let fits =
            |ledger: &&Ledger| ledger.kind.as_deref() == Some("probe") && ledger.probe.as_deref() == main;
        ledgers().find(fits).or_else(|| ledgers().next())
    }

    fn style(&self) -> Palette {
        Palette { colour: self.colour }
    }

    fn title(&self, width: usize) -> Line<'static> {
        let path = self.status.as_ref().and_then(|status| status.paths.first());
        let region = |name: Option<&String>| name.map_or("—", String::as_str).to_owned();
        let (from, to) =
            (region(path.and_then(|p| p.source.as_ref())), region(path.and_then(|p| p.target.as_ref())));
        let elapsed = self.elapsed.as_secs();
        let clock = match self.duration {
            Some(end) => format!("{elapsed} of {} s", end.as_secs_f64()),
            None => format!("{elapsed} s"),
        };
        let median = path.and_then(|path| path.cross_region_latency_ms).map(|ms| ms / 1e3);
        let left = format!(" Insight  {from} → {to}  median {} ms", milliseconds(median));
        let right = format!("{}  {clock}", self.forwarder);
        Line::from(vec![
            Span::styled(left.clone(), self.style().strong()),
            Span::raw(" ".repeat(width.saturating_sub(left.chars().count() + right.chars().count()))),
            Span::styled(right, self.style().faint()),
        ])
    }

    fn ledger_lines(&self, width: usize) -> Vec<Line<'static>> {
        let style = self.style();
        let wide = width >= WIDE;
        let bound = if wide { FIGURE } else { 0 };
        let longest = |ledger: &Ledger| ledger.segments.iter().map(|s| segment_name(s).chars().count()).max();
        let name = self.ledger().and_then(longest).unwrap_or(0).clamp(NAME, (width / NAME_SHARE).max(NAME));
        let bar = width.saturating_sub(1 + name + FIGURE + bound + 2 + SOURCE + COUNT + 1);
        let columns = Columns { name, bar, wide };
        let Some(ledger) = self.ledger() else {
            return vec![Line::styled(" waiting for the first complete window", style.faint())];
        };
        let probe = ledger.probe.as_deref().unwrap_or("—");
        let mut heading =
            format!(" {:<name$}{:>FIGURE$}", clip(&format!("{probe}, last window"), name), "ms");
        if wide {
            heading += &format!("{:>FIGURE$}", "±");
        }
        heading += &format!("  {:<bar$} {:<SOURCE$}{:>COUNT$}", clip("share", bar), "evidence", "n");
        let mut lines = vec![Line::styled(heading, style.faint())];

        let end_to_end = ledger.end_to_end_seconds;
        let largest = ledger.segments.iter().filter_map(|s| s.seconds).fold(0.0, f64::max);
        for segment in &ledger.segments {
            let row = Row {
                name: segment_name(segment),
                seconds: segment.seconds,
                bound: segment.bound_seconds,
                source: source_text(segment),
                count: Some(segment.count),
                emphasis: largest > 0.0 && segment.seconds == Some(largest),
            };
            lines.push(row.line(end_to_end, columns, style));
        }
        let rest = Row { name: "unexplained".into(), seconds: ledger.unexplained_seconds, ..Row::default() };
        lines.push(rest.line(end_to_end, columns, style));
        let total = Row {
            name: "end to end".into(),
            seconds: end_to_end,
            source: "prober".into(),
            count: Some(ledger.count),
            ..Row::default()
        };
        let mut total = total.line(None, columns, style);
        total.style = style.strong();
        lines.push(total);
        lines
    }

    fn probe_lines(&self, width: usize) -> Vec<Line<'static>> {
        let style = self.style();
        let Some(status) = self.status.as_ref().filter(|status| !status.probes.is_empty()) else {
            return vec![];
        };
        let heading = format!(
            " {:<NAME$}{:>7}{:>7}{:>9}{:>9}{:>9}  failed",
            "probes since start", "sent", "ok", "p50 ms", "p99 ms", "mean ms"
        );
        let mut lines = vec![Line::styled(heading, style.faint())];
        for probe in &status.probes {
            let latency = probe.latency.clone().unwrap_or_default();
            let row = format!(
                " {:<NAME$}{:>7}{:>7}{:>9}{:>9}{:>9}  ",
                clip(&format!("{} {}", probe.probe, probe.connection.as_deref().unwrap_or("—")), NAME),
                whole(probe.sent),
                whole(probe.ok),
                milliseconds(latency.p50_seconds),
                milliseconds(latency.p99_seconds),
                milliseconds(latency.mean_seconds),
            );
            let failed = clip(&failures(probe), width.saturating_sub(row.chars().count()));
            let failed_style =
                if probe.failures.values().sum::<u64>() > 0 { style.alarm() } else { style.faint() };
            lines.push(Line::from(vec![Span::raw(row), Span::styled(failed, failed_style)]));
        }
        lines
    }

    fn state_lines(&self, width: usize) -> Vec<Line<'static>> {
        let style = self.style();
        let mut lines = Vec::new();
        if let Some(status) = &self.status {
            lines.push(Line::styled(clip(&format!(" {}", measurements(status)), width), style.faint()));
        }
        let background = match self.background_rps {
            0.0 => "no background load".to_owned(),
            rps => format!("background {rps} requests/s"),
        };
        let mut faults = match self.faults.is_empty() {
            true => " no fault".to_owned(),
            false => format!(" fault {}", self.faults.join(", ")),
        };
        if let Some((coming, at)) = &self.coming {
            faults += &format!(", {} at {} s", coming.join(", "), at.as_secs_f64());
        }
        let fault_style = if self.faults.is_empty() { style.faint() } else { style.warning() };
        let mut line =
            vec![Span::styled(faults, fault_style), Span::styled(format!(" · {background}"), style.faint())];
        if !self.hint.is_empty() {
            let used: usize = line.iter().map(Span::width).sum();
            line.push(Span::raw(" ".repeat(width.saturating_sub(used + self.hint.chars().count()).max(1))));
            line.push(Span::styled(self.hint.clone(), style.faint()));
        }
        lines.push(Line::from(line));
        if let Some(notice) = &self.notice {
            lines.extend(
                notice.lines().map(|line| Line::styled(clip(&format!(" {line}"), width), style.warning())),
            );
        }
        lines
    }
}

// ---- One row of the ledger -----------------------------------------------------------------

/// Widths of the ledger's table, in cells.
#[derive(Debug, Clone, Copy)]
struct Columns {
    name: usize,
    bar: usize,
    /// With a column for the bounds.
    wide: bool,
}

#[derive(Debug, Default)]
struct Row {
    name: String,
    seconds: Option<f64>,
    bound: Option<f64>,
    source: String,
    count: Option<u64>,
    emphasis: bool,
}

impl Row {
    /// `whole`: what a full bar stands for; without it there is no bar.
    fn line(&self, whole_seconds: Option<f64>, columns: Columns, style: Palette) -> Line<'static> {
        let Columns { name, bar, wide } = columns;
        let mut figure = format!(" {:<name$}{:>FIGURE$}", clip(&self.name, name), milliseconds(self.seconds));
        if wide {
            figure +=
                &format!("{:>FIGURE$}", self.bound.map_or(String::new(), |bound| milliseconds(Some(bound))));
        }
        let share = match (self.seconds, whole_seconds) {
            (Some(part), Some(whole)) if whole > 0.0 => part / whole,
            _ => 0.0,
        };
        let count = self.count.map_or(String::new(), |count| count.to_string());
        Line::from(vec![
            Span::styled(figure, if self.emphasis { style.strong() } else { Style::new() }),
            Span::raw("  "),
            Span::styled(format!("{:<bar$}", bar_of(share, bar)), style.bar(self.emphasis)),
            Span::styled(format!(" {:<SOURCE$}{count:>COUNT$}", clip(&self.source, SOURCE)), style.faint()),
        ])
    }
}

fn segment_name(segment: &Segment) -> String {
    match segment.merged.is_empty() {
        true => segment.name.clone(),
        false => format!("{} (with {})", segment.name, segment.merged.join(", ")),
    }
}

fn source_text(segment: &Segment) -> String {
    let source = segment.source.as_deref().unwrap_or("—");
    match (segment.inconsistent, segment.population.as_deref()) {
        (0, Some("all")) => format!("{source}, all"),
        (0, _) => source.into(),
        (count, _) => format!("{source}, {count} bad"),
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

// ---- Figures and words ---------------------------------------------------------------------

fn whole(count: Option<u64>) -> String {
    count.map_or("—".into(), |count| count.to_string())
}

fn failures(probe: &Probe) -> String {
    let classes: Vec<String> = probe
        .failures
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(class, n)| format!("{n} {class}"))
        .collect();
    match (probe.sent, classes.is_empty()) {
        (None, true) => "—".into(),
        (Some(_), true) => "none".into(),
        (_, false) => classes.join(", "),
    }
}

/// `measurements: 4 active · disabled: tcp_info at eu (reason)`
fn measurements(status: &Status) -> String {
    let active = status.measurements.iter().filter(|m| m.state == "active").count();
    let others = status.measurements.iter().filter(|m| m.state != "active");
    let others: Vec<String> =
        others.map(|m| format!("{} {} at {} ({})", m.state, m.name, m.node, m.reason)).collect();
    match (status.measurements.is_empty(), others.is_empty()) {
        (true, _) => "measurements: —".into(),
        (false, true) => format!("measurements: all {active} active"),
        (false, false) => format!("measurements: {active} active · {}", others.join(" · ")),
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
