//! How many tests passed, failed and were ignored, from what nextest or `cargo test` printed.

use std::collections::BTreeSet;

/// What a run of tests came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Tests that ran to their end without a failure.
    pub passed: u64,
    /// Tests that failed, timed out, or were due and never ran.
    pub failed: u64,
    /// Tests that `#[ignore]` or a filter left out, as far as they are named.
    pub ignored: BTreeSet<String>,
    /// Summary lines seen. 0 = nothing was counted, whatever the figures say.
    pub summaries: u64,
}

impl Counts {
    /// Takes one printed line into account. Escape sequences (colour) are allowed in it.
    pub fn take(&mut self, line: &str) {
        let line = without_escapes(line);
        // nextest repeats what a failed test printed, indented, and libtest's own summary of that
        // one test is part of it: counted already.
        let repeated = line.starts_with("    ");
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("Summary [") {
            self.take_nextest_summary(rest);
        } else if let Some(rest) = line.strip_prefix("SKIP [") {
            // `SKIP [         ] (─────) package::binary module::test`
            let after = rest.split_once(']').map_or(rest, |(_, after)| after).trim();
            let name = after.split_once(')').map_or(after, |(_, name)| name).trim();
            self.ignored.insert(name.into());
        } else if let Some(rest) = line.strip_prefix("test result: ").filter(|_| !repeated) {
            self.take_libtest_summary(rest);
        } else if let Some(name) = libtest_ignored(line).filter(|_| !repeated) {
            self.ignored.insert(name.into());
        }
    }

    /// `   1.2s] 4/5 tests run: 2 passed (1 slow), 1 failed, 1 timed out, 3 skipped`
    fn take_nextest_summary(&mut self, rest: &str) {
        let Some((_, rest)) = rest.split_once("] ") else { return };
        let Some((run, figures)) = rest.split_once(" run: ") else { return };
        self.summaries += 1;
        // `4/5`: the run was cut short, and what never ran has not passed.
        if let Some((ran, due)) = run.split_whitespace().next().and_then(|word| word.split_once('/')) {
            let figure = |text: &str| text.parse::<u64>().unwrap_or(0);
            self.failed += figure(due).saturating_sub(figure(ran));
        }
        for (count, what) in figures_of(&without_brackets(figures), ',') {
            match what.as_str() {
                "passed" => self.passed += count,
                "skipped" => {} // named one by one by the SKIP lines
                _ => self.failed += count,
            }
        }
    }

    /// `ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
    fn take_libtest_summary(&mut self, rest: &str) {
        self.summaries += 1;
        let figures = rest.split_once(". ").map_or(rest, |(_, figures)| figures);
        for (count, what) in figures_of(figures, ';') {
            match what.as_str() {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                _ => {}
            }
        }
    }
}

/// `test module::name ... ignored, reason`
fn libtest_ignored(line: &str) -> Option<&str> {
    let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    result.starts_with("ignored").then_some(name)
}

/// Each `12 words` between separators.
fn figures_of(text: &str, separator: char) -> Vec<(u64, String)> {
    let figure = |part: &str| {
        let (count, what) = part.trim().split_once(' ')?;
        Some((count.parse().ok()?, what.to_owned()))
    };
    text.split(separator).filter_map(figure).collect()
}

/// Without `(…)`: nextest puts slow, flaky and leaky there, which passed all the same.
fn without_brackets(text: &str) -> String {
    let mut depth = 0_u32;
    let keep = |letter: &char| {
        match letter {
            '(' => depth += 1,
            ')' => {
                depth = depth.saturating_sub(1);
                return false;
            }
            _ => {}
        }
        depth == 0
    };
    text.chars().filter(keep).collect::<String>().replace(" ,", ",")
}

/// Without the `ESC [ … letter` sequences that colour a line.
fn without_escapes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            letters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(letter);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> Counts {
        let mut counts = Counts::default();
        text.lines().for_each(|line| counts.take(line));
        counts
    }

    #[test]
    fn nextest_counts_everything_that_is_not_passed_or_skipped_as_failed() {
        let counts = counted(
            "     Summary [   3.012s] 7 tests run: 4 passed (1 slow, 1 flaky), 2 failed, 1 timed out, 5 skipped\n",
        );
        assert_eq!((counts.passed, counts.failed, counts.summaries), (4, 3, 1));
    }

    #[test]
    fn a_nextest_run_cut_short_counts_what_never_ran_as_failed() {
        let counts = counted("     Summary [   0.5s] 3/9 tests run: 2 passed, 1 failed, 0 skipped");
        assert_eq!((counts.passed, counts.failed), (2, 7));
    }

    #[test]
    fn ignored_tests_are_named_by_nextest_and_by_libtest() {
        let counts = counted(
            "        SKIP [         ] (─────────) insight-agent model::tests::big\n\
             test figure::tests::huge ... ignored, needs 40 GB\ntest figure::tests::small ... ok\n",
        );
        let names: Vec<&str> = counts.ignored.iter().map(String::as_str).collect();
        assert_eq!(names, ["figure::tests::huge", "insight-agent model::tests::big"]);
    }

    #[test]
    fn cargo_test_sums_over_its_binaries() {
        let counts = counted(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n",
        );
        assert_eq!((counts.passed, counts.failed, counts.summaries), (15, 2, 2));
    }

    #[test]
    fn colour_does_not_hide_a_summary() {
        let counts = counted(
            "\u{1b}[32;1m     Summary\u{1b}[0m [   0.010s] \u{1b}[1m3\u{1b}[0m tests run: \u{1b}[1m3\u{1b}[0m \u{1b}[32mpassed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m skipped",
        );
        assert_eq!((counts.passed, counts.summaries), (3, 1));
    }

    #[test]
    fn output_without_a_summary_counts_nothing() {
        assert_eq!(counted("error: could not compile `x`").summaries, 0);
    }

    #[test]
    fn what_a_failed_test_printed_is_not_counted_again() {
        let mut counts = Counts::default();
        counts.take("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out");
        assert_eq!(counts, Counts::default());
        counts.take("     Summary [ 242.701s] 493 tests run: 488 passed, 5 failed, 0 skipped");
        assert_eq!((counts.passed, counts.failed), (488, 5));
    }
}
