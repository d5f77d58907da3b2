//! The lab against itself: what is set comes back as set, and nothing stays behind.
//!
//! One test program, so that it is linked once. No test needs the agent; those that need nginx
//! or HAProxy print `SKIP name: reason` where these are not installed.

#![allow(clippy::unwrap_used, reason = "clippy knows test functions, but not the functions they share")]

mod echo;
mod forwarder;
mod harness;
mod hop;
mod path;
mod relay;

use std::path::Path;

/// The program under test.
fn lab_binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_insight-lab"))
}

/// Says loudly that a test did not run: libtest knows no skips.
fn skip(name: &str, reason: &str) {
    insight_lab::skip::skip(name, insight_lab::skip::SkipReason::Missing(reason));
}
