//! The result, as a Markdown table and as one JSON object.

use super::cells::{Cell, columns};
use super::judge::Verdict;
use super::rows::Row;
use crate::bench::machine::Machine;
use serde::Serialize;
use std::fmt::Write;

/// A judged row.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// Which.
    pub row: Row,
    /// Its cells, in the order of the columns.
    pub cells: Vec<Cell>,
    /// Bytes that HAProxy has spliced. **None**: it is another proxy.
    pub spliced_bytes: Option<u64>,
    /// How long it took. **Unit**: s.
    pub seconds: f64,
}

/// Everything that one run found out.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// The rows.
    pub rows: Vec<Judged>,
    /// Those that came to nothing.
    pub failed: Vec<Failed>,
}

/// A row that could not be judged.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    /// Which.
    pub row: Row,
    /// Why not.
    pub why: String,
}

#[derive(Serialize)]
struct Json<'a> {
    lab: &'static str,
    passed: bool,
    #[serde(flatten)]
    report: &'a Report,
}

impl Report {
    /// Whether every row was judged, and no cell is wrong.
    pub fn passed(&self) -> bool {
        self.wrong() == 0 && self.failed.is_empty()
    }

    fn wrong(&self) -> usize {
        let cells = self.rows.iter().flat_map(|row| &row.cells);
        cells.filter(|cell| cell.verdict.is_wrong()).count()
    }

    /// One JSON object, in one line.
    ///
    /// # Errors
    /// A figure is no number that JSON can hold.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Json { lab: "truth", passed: self.passed(), report: self })
    }

    /// The table: measurements down, for their figures need room, and traffic across; what a dash
    /// means below it, and the verdict as the last line.
    pub fn text(&self) -> String {
        let mut text = format!("agent ({} build), {}\n\n", self.machine.agent_build, self.machine.text());
        let titles: Vec<_> = self.rows.iter().map(|row| row.row.title()).collect();
        // Writing to a String cannot fail.
        let _ =
            writeln!(text, "| measurement | {} |\n|---|{}", titles.join(" | "), "---|".repeat(titles.len()));
        let mut notes: Vec<&str> = Vec::new();
        for (at, measurement) in columns().enumerate() {
            let cells: Vec<String> =
                self.rows.iter().map(|row| shown(&row.cells[at].verdict, &mut notes)).collect();
            let _ = writeln!(text, "| `{}` | {} |", measurement.name(), cells.join(" | "));
        }
        if !notes.is_empty() {
            text.push('\n');
        }
        for (number, note) in notes.iter().enumerate() {
            let _ = writeln!(text, "{}. {note}", number + 1);
        }
        for Failed { row, .. } in &self.failed {
            let _ = writeln!(text, "\n{}: not judged, see above", row.title());
        }
        let cells = self.rows.iter().map(|row| row.cells.len()).sum::<usize>();
        let verdict = match self.wrong() {
            0 => "no cell is wrong".to_owned(),
            wrong => format!("{wrong} WRONG"),
        };
        let _ = write!(text, "\n{} rows, {cells} cells: {verdict}", self.rows.len());
        text
    }
}

fn shown<'a>(verdict: &'a Verdict, notes: &mut Vec<&'a str>) -> String {
    match verdict {
        Verdict::Right(why) => format!("right: {why}"),
        Verdict::Refused(why) => format!("refused: {why}"),
        Verdict::Wrong(why) => format!("**WRONG**: {why}"),
        Verdict::Nothing(why) => {
            let at = notes.iter().position(|note| note == why).unwrap_or_else(|| {
                notes.push(why);
                notes.len() - 1
            });
            format!("– ({})", at + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: [Verdict; 3]) -> Report {
        let row = |verdict: Verdict| Judged {
            row: Row::Nginx,
            cells: columns()
                .map(|measurement| Cell { measurement: measurement.name(), verdict: verdict.clone() })
                .collect(),
            spliced_bytes: None,
            seconds: 20.0,
        };
        Report { machine: Machine::example(), rows: verdicts.map(row).to_vec(), failed: Vec::new() }
    }

    #[test]
    fn a_wrong_cell_fails_the_run_and_is_shown_as_such() {
        let right = || Verdict::Right("20.1 ms of 20.0 ms".into());
        assert!(report([right(), right(), Verdict::Refused("overlapped 98 %".into())]).passed());
        let failed = report([right(), Verdict::Wrong("3.1 ms of 20.0 ms".into()), right()]);
        assert!(!failed.passed());
        let text = failed.text();
        let line = text.lines().find(|line| line.starts_with("| `response` |")).unwrap();
        assert!(line.contains("| right: 20.1 ms of 20.0 ms | **WRONG**: 3.1 ms of 20.0 ms |"), "{line}");
        assert!(text.ends_with("3 rows, 42 cells: 14 WRONG"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&failed.json().unwrap()).unwrap();
        assert_eq!(json["passed"], false);
        assert_eq!(json["rows"][1]["cells"][0]["verdict"], "wrong");
    }

    #[test]
    fn a_row_that_was_not_judged_fails_the_run() {
        let right = || Verdict::Right("a".into());
        let mut report = report([right(), right(), right()]);
        report.failed.push(Failed { row: Row::Splice, why: "it spliced nothing".into() });
        assert!(!report.passed() && report.text().contains("splice: not judged"), "{}", report.text());
    }

    #[test]
    fn what_has_no_meaning_is_a_dash_with_a_note_that_is_written_once() {
        let nothing = || Verdict::Nothing("no stream");
        let text = report([nothing(), nothing(), Verdict::Right("a".into())]).text();
        assert!(text.contains("| `drops` | – (1) | – (1) | right: a |"), "{text}");
        assert_eq!(text.matches("1. no stream").count(), 1);
    }
}
