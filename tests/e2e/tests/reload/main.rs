//! New configurations of a running agent: what goes on, what comes, what goes, and that nothing is left.
#![allow(clippy::unwrap_used, reason = "in a test, a panic that shows the error is the answer")]

mod many;
mod triggers;

use insight_e2e::agent::Site;
use insight_e2e::http::{self, Answer};

/// Asks the agent to read its file again.
fn reload(site: &Site) -> Answer {
    http::post(site.admin(), "/-/reload", &[]).unwrap()
}

/// The same, which has to succeed; gives what it changed.
fn reloaded(site: &Site) -> serde_json::Value {
    let answer = reload(site);
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}
