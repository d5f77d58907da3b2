//! What `cargo xtask fuzz` says in the end: a table, and what it takes to see a failure again.

use super::engine::{End, Limits, Outcome};
use std::fmt::Write;
use std::fs;

/// Lines of a failed target's log that the report repeats.
const TAIL: usize = 40;

/// The report's text.
pub fn text(outcomes: &[Outcome], limits: Limits) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail; there is nothing to tell a caller.
    let limit = |value: Option<u64>, unit: &str| value.map(|value| format!("{value} {unit}"));
    let limits = [limit(limits.runs, "inputs"), limit(limits.seconds, "seconds")];
    let limits: Vec<_> = limits.into_iter().flatten().collect();
    let _ = writeln!(text, "fuzz targets of insight-agent, each up to {}\n", limits.join(" or "));
    let _ = writeln!(
        text,
        "{:<16} {:>12} {:>8} {:>10} {:>9}  result",
        "target", "inputs", "s", "inputs/s", "branches"
    );
    for outcome in outcomes {
        let seconds = outcome.took.as_secs_f64();
        let rate = outcome.runs.map(|runs| runs as f64 / seconds.max(0.001));
        let known = |figure: Option<u64>| figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string());
        let _ = writeln!(
            text,
            "{:<16} {:>12} {seconds:>8.1} {:>10} {:>9}  {}",
            outcome.target.name,
            known(outcome.runs),
            rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
            known(outcome.covered),
            outcome.end.word()
        );
    }
    for outcome in outcomes.iter().filter(|outcome| failed(outcome)) {
        let _ = writeln!(
            text,
            "\n{}: {}; see {}",
            outcome.target.name,
            outcome.end.word(),
            outcome.log.display()
        );
        for artifact in &outcome.artifacts {
            let program = outcome.target.program.display();
            let _ = writeln!(text, "  again: {program} {}", artifact.display());
        }
        let log = fs::read(&outcome.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(TAIL)..] {
            let _ = writeln!(text, "  | {line}");
        }
    }
    text
}

/// Whether a target found something.
pub fn failed(outcome: &Outcome) -> bool {
    matches!(outcome.end, End::Crash | End::Hang)
}

#[cfg(test)]
mod tests {
    use super::super::instrument::Target;
    use super::*;
    use std::time::Duration;

    fn outcome(name: &str, end: End, log: &std::path::Path) -> Outcome {
        Outcome {
            target: Target { name: name.into(), program: format!("/t/{name}").into() },
            end,
            runs: (end == End::Done).then_some(5000),
            took: Duration::from_secs(2),
            covered: (end == End::Done).then_some(77),
            artifacts: if end == End::Done { vec![] } else { vec!["/a/crash-1".into()] },
            log: log.to_owned(),
        }
    }

    #[test]
    fn a_failure_comes_with_its_input_and_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "first\n".to_owned() + &"line\n".repeat(TAIL - 1) + "panicked at here\n").unwrap();
        let limits = Limits { runs: Some(5000), seconds: Some(9) };
        let text = text(&[outcome("kong", End::Done, &log), outcome("orca", End::Crash, &log)], limits);
        assert!(text.contains("each up to 5000 inputs or 9 seconds\n"), "{text}");
        assert!(text.contains("kong                     5000      2.0       2500        77  ok\n"), "{text}");
        assert!(
            text.contains("orca                        -      2.0          -         -  CRASH\n"),
            "{text}"
        );
        assert!(
            text.contains("again: /t/orca /a/crash-1\n") && text.contains("| panicked at here\n"),
            "{text}"
        );
        assert!(!text.contains("first") && !text.contains("again: /t/kong"), "{text}");
    }
}
