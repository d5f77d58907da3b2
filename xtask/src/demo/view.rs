//! What the demo shows, as lines of text: the path, the ledger, the probes, the state of things.
//!
//! Pure: a [`View`] and a size in, lines out. The live view and the plain snapshots are the same
//! lines; only colour differs. What is not known is `—`, never 0.

use super::ledgers::Ledgers;
use super::paint::{Palette, clip, milliseconds};
use super::status::{Probe, Status};
use super::table::NAME;
use super::{chain, cpus, nodes, table};
use ratatui::Frame;
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

impl View {
    /// The picture as lines that fit `width`; with `height` to spare, parts are set apart by
    /// blank lines; where it does not suffice, nodes share a line, and probes are left out.
    pub fn lines(&self, width: u16, height: u16) -> Vec<Line<'static>> {
        let width = usize::from(width.max(40)) - 1;
        let height = usize::from(height);
        let ledgers = self.status.as_ref().map(Ledgers::of).unwrap_or_default();
        let fixed = [
            vec![self.title(width)],
            chain::lines(ledgers.first(), width, self.style()),
            table::lines(ledgers, width, self.style()),
        ];
        let (mut probes, foot) = (self.probe_lines(width), self.foot_lines(width));
        let mut cpus = cpus::lines(ledgers, false, width, self.style());
        let fixed_lines: usize = fixed.iter().map(Vec::len).sum::<usize>() + foot.len();
        let mut nodes = self.node_lines(width, false);
        if fixed_lines + probes.len() + nodes.len() > height {
            nodes = self.node_lines(width, true);
        }
        if fixed_lines + probes.len() + nodes.len() + cpus.len() > height {
            cpus = cpus::lines(ledgers, true, width, self.style());
        }
        let fixed_lines = fixed_lines + cpus.len();
        self.cut(&mut probes, height.saturating_sub(fixed_lines + nodes.len()));
        let used = fixed_lines + probes.len() + nodes.len();
        nodes.extend(foot);
        let mut spare = height.saturating_sub(used);
        let mut lines = Vec::new();
        for part in fixed.into_iter().chain([cpus, probes, nodes]).filter(|part| !part.is_empty()) {
            if !lines.is_empty() && spare > 0 {
                spare -= 1;
                lines.push(Line::default());
            }
            lines.extend(part);
        }
        lines
    }

    /// Leaves the first `room` lines of the probes, the last of which says how many are missing.
    fn cut(&self, probes: &mut Vec<Line<'static>>, room: usize) {
        if probes.len() <= room {
            return;
        }
        // A heading over nothing tells nothing.
        let kept = if room < 3 { 0 } else { room - 1 };
        let missing = probes.len() - kept.max(1);
        probes.truncate(kept);
        if kept > 0 {
            probes.push(Line::styled(format!(" … {missing} more, in a taller window"), self.style().faint()));
        }
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

    /// What the nodes measure: a line each, or all in one.
    fn node_lines(&self, width: usize, in_one: bool) -> Vec<Line<'static>> {
        let Some(status) = &self.status else { return vec![] };
        let lines = if in_one { vec![nodes::line(status, width)] } else { nodes::lines(status, width) };
        lines.into_iter().map(|line| Line::styled(line, self.style().faint())).collect()
    }

    /// Faults, load, keys and notices.
    fn foot_lines(&self, width: usize) -> Vec<Line<'static>> {
        let style = self.style();
        let mut lines = Vec::new();
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

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
