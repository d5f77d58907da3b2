//! The result, as a table and as one JSON object.

use super::situations::Situation;
use super::{Truth, blackbox, insight};
use crate::bench::machine::Machine;
use serde::Serialize;
use std::fmt::Write;

/// One situation and what both said.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub situation: &'static str,
    pub truth: String,
    pub blackbox: blackbox::Said,
    pub insight: insight::Said,
}

impl Row {
    /// Of these answers.
    pub fn new(situation: &Situation, blackbox: blackbox::Said, insight: insight::Said) -> Self {
        let truth = match situation.truth {
            Truth::Good(delay) => format!("good, {} ms", delay.as_millis()),
            Truth::SlowName(delay) => format!("good, name {} ms", delay.as_millis()),
            Truth::Bad(classes) => format!("bad: {}", classes.join(" or ")),
        };
        Self { situation: situation.name, truth, blackbox, insight }
    }
}

/// Everything that one run found out.
pub struct Report {
    pub machine: Machine,
    pub blackbox: String,
    pub rows: Vec<Row>,
}

#[derive(Serialize)]
struct Json<'a> {
    bench: &'static str,
    blackbox_version: &'a str,
    rows: &'a [Row],
    #[serde(flatten)]
    machine: &'a Machine,
}

impl Report {
    /// One JSON object, in one line.
    ///
    /// # Errors
    /// A figure is no number that JSON can hold.
    pub fn json(&self) -> serde_json::Result<String> {
        let Self { machine, blackbox, rows } = self;
        serde_json::to_string(&Json { bench: "beside", blackbox_version: blackbox, rows, machine })
    }

    /// For people, in Markdown, as it goes into the journal.
    pub fn text(&self) -> String {
        let mut text = format!(
            "insight-agent ({} build) beside {}\n{}\n\n\
             | situation | truth | blackbox: success | duration, ms | phases, ms | status | right | \
             Insight: class, phase, status | latency, ms | fresh, ms | phases of fresh, ms | right |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|\n",
            self.machine.agent_build,
            self.blackbox,
            self.machine.text()
        );
        let right = |right: bool| if right { "yes" } else { "**no**" };
        let ms = |seconds: Option<f64>| {
            seconds.map_or("–".to_owned(), |seconds| format!("{:.1}", seconds * 1e3))
        };
        for Row { situation, truth, blackbox, insight } in &self.rows {
            let said = insight.failure.as_ref().map_or("good".to_owned(), |failure| failure.join(", "));
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {situation} | {truth} | {} | {} | {} | {} | {} | {said} | {} | {} | {} | {} |",
                u8::from(blackbox.success),
                ms(blackbox.duration_seconds),
                phases(&blackbox.phases),
                blackbox.status_code.map_or("–".to_owned(), |code| code.to_string()),
                right(blackbox.right),
                ms(insight.latency_seconds),
                ms(insight.took_seconds),
                phases(&insight.phases),
                right(insight.right),
            );
        }
        let count = |right: fn(&Row) -> bool| self.rows.iter().filter(|row| right(row)).count();
        let _ = write!(
            text,
            "\nright: blackbox {} of {}, Insight {} of {}\n",
            count(|row| row.blackbox.right),
            self.rows.len(),
            count(|row| row.insight.right),
            self.rows.len(),
        );
        text
    }
}

/// Those that took something.
fn phases(phases: &[(String, f64)]) -> String {
    let told = phases.iter().filter(|(_, seconds)| *seconds > 0.0);
    let told: Vec<_> = told.map(|(name, seconds)| format!("{name} {:.1}", seconds * 1e3)).collect();
    if told.is_empty() { "–".to_owned() } else { told.join(", ") }
}
