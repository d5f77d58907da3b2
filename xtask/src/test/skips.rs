//! The tests that declared themselves skipped, from the log that `insight_lab::skip` appends to.

use std::collections::BTreeMap;

/// One skip, with the words the test gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The test, or the step.
    pub name: String,
    /// Why, for people.
    pub reason: String,
    /// The machine could have been given what is missing: where skips are forbidden, a failure.
    pub avoidable: bool,
}

impl Skip {
    /// A skip that a better set-up machine would not have had.
    pub fn avoidable(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), reason: reason.into(), avoidable: true }
    }
}

/// The skips in `log`, one per test: a test that names two missing things is still one test, and
/// is avoidable when any of its reasons is.
pub fn parse(log: &str) -> Vec<Skip> {
    let mut skips: BTreeMap<&str, Skip> = BTreeMap::new();
    for line in log.lines() {
        let mut fields = line.splitn(3, '\t');
        let (Some(word), Some(name), Some(reason)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let avoidable = !matches!(word, "impossible" | "unasked");
        skips
            .entry(name)
            .and_modify(|skip| {
                skip.avoidable |= avoidable;
                if !skip.reason.contains(reason) {
                    skip.reason = format!("{}; {reason}", skip.reason);
                }
            })
            .or_insert_with(|| Skip { name: name.into(), reason: reason.into(), avoidable });
    }
    skips.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_reasons_of_one_test_are_one_skip() {
        let log =
            "impossible\ta\tno BTF\nmissing\ta\tno nginx\nimpossible\tb\tno kprobes\nunasked\tc\tlong\n";
        let skips = parse(log);
        assert_eq!(skips.len(), 3);
        assert_eq!(skips[0], Skip::avoidable("a", "no BTF; no nginx"));
        assert!(!skips[1].avoidable && !skips[2].avoidable);
    }

    #[test]
    fn what_the_lab_writes_is_what_is_read_here() {
        use insight_lab::skip::{SkipReason, log_line};
        let skips = parse(&log_line("name", SkipReason::Missing("x")));
        assert_eq!(skips, [Skip::avoidable("name", "x")]);
    }
}
