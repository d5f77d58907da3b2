//! Loud skips: a test that cannot run here says so, and the run counts it.
//!
//! Rust's harness knows no skip at run time, so a test that returns early counts as passed. Here
//! it prints `SKIP name: reason` and appends the same to the file named by [`LOG_VARIABLE`]; the
//! test command reads that file, takes those tests out of the passed ones and names each of them.
//!
//! ```no_run
//! use insight_lab::skip::{SkipReason, skip};
//! fn nginx_forwards_trailers() {
//!     if !std::path::Path::new("/usr/sbin/nginx").exists() {
//!         return skip("nginx_forwards_trailers", SkipReason::Missing("nginx is not installed"));
//!     }
//! }
//! ```

use std::fs::OpenOptions;
use std::io::Write;

/// Names the file that skips are appended to. Set by `cargo xtask test`; without it a skip is
/// only printed.
pub const LOG_VARIABLE: &str = "INSIGHT_SKIP_LOG";

/// Set to 1 by `cargo xtask test --long`: tests that need large programs, or long, shall run too.
pub const LONG_VARIABLE: &str = "INSIGHT_LONG";

/// Whether [`LONG_VARIABLE`] asks for the long tests. False: the running test `name` was declared skipped, and shall
/// return.
pub fn is_long(name: &str) -> bool {
    let asked = std::env::var(LONG_VARIABLE).is_ok_and(|value| value == "1");
    if !asked {
        skip(name, SkipReason::Unasked("a long test: run `cargo xtask test --long`"));
    }
    asked
}

/// Why a test cannot run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason<'a> {
    /// A package, a privilege or a tool that this machine could be given. Where skips are
    /// forbidden (CI) such a skip fails the run.
    Missing(&'a str),
    /// Something no set-up on this machine provides, such as a feature its kernel was built
    /// without. Never fails a run.
    Impossible(&'a str),
    /// It takes what not every run shall take, and nobody asked for it: see [`is_long`]. Never fails a run.
    Unasked(&'a str),
}

impl<'a> SkipReason<'a> {
    /// The closed word that stands in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing(_) => "missing",
            Self::Impossible(_) => "impossible",
            Self::Unasked(_) => "unasked",
        }
    }

    /// The text for people.
    pub const fn text(self) -> &'a str {
        match self {
            Self::Missing(text) | Self::Impossible(text) | Self::Unasked(text) => text,
        }
    }
}

/// Declares that the running test `name` is skipped; the caller returns right after.
///
/// # Panics
/// The log was asked for and cannot be written: the skip would be counted as a pass.
pub fn skip(name: &str, reason: SkipReason<'_>) {
    println!("SKIP {name}: {}", reason.text());
    if let Some(path) = std::env::var_os(LOG_VARIABLE) {
        let line = log_line(name, reason);
        // One write of one line in append mode: tests of several processes share the file, and
        // appends below a page do not interleave.
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut log| log.write_all(line.as_bytes()));
        if let Err(error) = written {
            panic!("record the skip of {name} in {}: {error}", path.display());
        }
    }
}

/// One line of the log: `word TAB name TAB text LF`, whatever the name and the text hold.
pub fn log_line(name: &str, reason: SkipReason<'_>) -> String {
    let flat = |text: &str| text.replace(['\t', '\n', '\r'], " ");
    format!("{}\t{}\t{}\n", reason.word(), flat(name), flat(reason.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logged_skip_is_one_line_of_three_fields() {
        let line = log_line("nginx_forwards", SkipReason::Missing("no nginx:\n\tinstall it"));
        assert_eq!(line, "missing\tnginx_forwards\tno nginx:  install it\n");
    }

    #[test]
    fn an_impossible_skip_is_told_apart_from_a_missing_one() {
        assert_eq!(SkipReason::Impossible("no BTF").word(), "impossible");
        assert_ne!(SkipReason::Impossible("x").word(), SkipReason::Missing("x").word());
    }
}
