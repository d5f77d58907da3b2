//! Adds steps and tests up to the last line, `N passed, N failed, N skipped`.

use super::counts::Counts;
use super::skips::Skip;
use std::fmt;

/// What one step came to.
#[derive(Debug)]
pub enum Verdict {
    /// The step counts as one passed test.
    Passed,
    /// The step counts as one failed test.
    Failed,
    /// The step could not run on this machine, and why.
    Skipped(String),
    /// The step ran tests, which are counted one by one.
    Tests {
        /// What the runner printed.
        counts: Counts,
        /// The tests that declared themselves skipped; the runner took them for passed.
        skips: Vec<Skip>,
        /// False: the runner failed, for a reason that its counts may not show.
        all_well: bool,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => formatter.write_str("ok"),
            Self::Skipped(_) => formatter.write_str("skipped"),
            Self::Tests { all_well: true, counts, .. } if counts.failed == 0 => formatter.write_str("ok"),
            Self::Failed | Self::Tests { .. } => formatter.write_str("FAILED"),
        }
    }
}

/// The sum so far.
#[derive(Debug)]
pub struct Tally {
    forbid_skips: bool,
    passed: u64,
    failed: u64,
    failures: Vec<String>,
    skips: Vec<Skip>,
}

impl Tally {
    /// An empty tally. With `forbid_skips`, a skip that a better set-up machine would not have
    /// had counts as failed.
    pub fn new(forbid_skips: bool) -> Self {
        Self { forbid_skips, passed: 0, failed: 0, failures: Vec::new(), skips: Vec::new() }
    }

    /// Counts a step. True: it did not fail.
    pub fn take(&mut self, step: &str, verdict: Verdict) -> bool {
        let before = self.failed;
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed => self.fail(step),
            Verdict::Skipped(reason) => self.skip(Skip::avoidable(step, reason)),
            Verdict::Tests { counts, skips, all_well } => {
                // A test that skipped itself returned early: the runner saw a pass.
                self.passed += counts.passed.saturating_sub(skips.len() as u64);
                if counts.failed > 0 {
                    self.failed += counts.failed;
                    self.failures.push(format!("{step} ({} failed: see above)", counts.failed));
                } else if !all_well {
                    self.fail(&format!("{step} (the runner failed: see above)"));
                }
                skips.into_iter().for_each(|skip| self.skip(skip));
                for name in counts.ignored {
                    self.skip(Skip::avoidable(name, "marked #[ignore]"));
                }
            }
        }
        self.failed == before
    }

    /// Counts one failure.
    pub fn fail(&mut self, what: &str) {
        self.failed += 1;
        self.failures.push(what.into());
    }

    fn skip(&mut self, skip: Skip) {
        if self.forbid_skips && skip.avoidable {
            self.fail(&format!("{} (skips are forbidden here: {})", skip.name, skip.reason));
        } else {
            self.skips.push(skip);
        }
    }

    /// How much failed so far.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Every failure and every skip by name, then the counting line.
    pub fn summary(&self) -> String {
        let mut text = String::from("\n");
        for skip in &self.skips {
            text += &format!("SKIP {}: {}\n", skip.name, skip.reason);
        }
        for failure in &self.failures {
            text += &format!("FAIL {failure}\n");
        }
        text + &format!("{} passed, {} failed, {} skipped\n", self.passed, self.failed, self.skips.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests(passed: u64, failed: u64, skips: Vec<Skip>) -> Verdict {
        let counts = Counts { passed, failed, summaries: 1, ..Counts::default() };
        Verdict::Tests { counts, skips, all_well: failed == 0 }
    }

    fn impossible(name: &str) -> Skip {
        Skip { name: name.into(), reason: "no kprobes".into(), avoidable: false }
    }

    fn last_line(tally: &Tally) -> String {
        tally.summary().lines().last().unwrap().to_owned()
    }

    #[test]
    fn steps_and_tests_add_up_and_a_skipped_test_is_no_pass() {
        let mut tally = Tally::new(false);
        assert!(tally.take("format", Verdict::Passed));
        assert!(tally.take("tests", tests(10, 0, vec![Skip::avoidable("a", "no nginx"), impossible("b")])));
        assert_eq!(last_line(&tally), "9 passed, 0 failed, 2 skipped");
        assert!(tally.summary().contains("SKIP a: no nginx\nSKIP b: no kprobes\n"));
    }

    #[test]
    fn where_skips_are_forbidden_only_an_impossible_one_is_let_through() {
        let mut tally = Tally::new(true);
        assert!(!tally.take("tests", tests(10, 0, vec![Skip::avoidable("a", "no nginx"), impossible("b")])));
        assert_eq!(last_line(&tally), "8 passed, 1 failed, 1 skipped");
        assert!(tally.summary().contains("FAIL a (skips are forbidden here: no nginx)"));
    }

    #[test]
    fn a_runner_that_failed_without_a_failed_test_is_a_failure() {
        let mut tally = Tally::new(false);
        let verdict = Verdict::Tests { counts: Counts::default(), skips: vec![], all_well: false };
        assert!(!tally.take("tests", verdict));
        assert_eq!(last_line(&tally), "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn ignored_tests_are_named_as_skips() {
        let mut tally = Tally::new(false);
        let counts = Counts { passed: 1, summaries: 1, ignored: ["slow".into()].into(), ..Counts::default() };
        tally.take("tests", Verdict::Tests { counts, skips: vec![], all_well: true });
        assert!(tally.summary().contains("SKIP slow: marked #[ignore]\n1 passed, 0 failed, 1 skipped\n"));
    }

    #[test]
    fn a_set_up_step_that_needs_root_is_a_skip_with_its_reason() {
        let mut tally = Tally::new(false);
        assert!(tally.take("setup", Verdict::Skipped("not root".into())));
        assert_eq!(tally.summary(), "\nSKIP setup: not root\n0 passed, 0 failed, 1 skipped\n");
    }
}
