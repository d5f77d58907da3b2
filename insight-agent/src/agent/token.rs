//! Tokens out of their files.

use super::AgentError;
use crate::secret::{Bearer, Secret};
use std::path::Path;

/// The secret that callers must present. Blocking: one small file.
pub(super) fn expected(key: &'static str, path: &Path) -> Result<Secret, AgentError> {
    let text = read(key, path)?;
    Secret::from_text(&text).ok_or_else(|| failed(key, path, "holds no token"))
}

/// The token that is presented to another agent. Blocking: one small file.
pub(super) fn presented(key: &'static str, path: &Path) -> Result<Bearer, AgentError> {
    let text = read(key, path)?;
    Bearer::from_text(&text).ok_or_else(|| failed(key, path, "holds no single word of visible ASCII"))
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, AgentError> {
    std::fs::read(path).map_err(|error| failed(key, path, &error.to_string()))
}

fn failed(key: &'static str, path: &Path, problem: &str) -> AgentError {
    AgentError::Token { key, path: path.to_owned(), problem: problem.to_owned() }
}
