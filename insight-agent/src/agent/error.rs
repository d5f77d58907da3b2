//! Why an agent could not start, or had to end.

use crate::collect::nodes::TargetError;
use crate::collect::probe::ProberError;
use crate::publish::web::{BindError, WebConfigError};
use crate::serve::ServeError;
use std::path::PathBuf;

/// Why an agent could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A listener's address cannot be used.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The prober cannot work as configured.
    #[error(transparent)]
    Prober(#[from] ProberError),
    /// Another agent cannot be asked as configured.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The gRPC server cannot work as configured, or failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Prometheus' web configuration is not usable.
    #[error(transparent)]
    WebConfig(#[from] WebConfigError),
    /// A token cannot be read.
    #[error("{key} = {path:?}: {problem}: write one line with the token, readable by this user")]
    Token {
        /// The configuration key with its table.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never its content.
        problem: String,
    },
    /// The system refused a thread, a runtime or random bytes.
    #[error("start {part}: check the limits on threads and open files")]
    Thread {
        /// What could not be started.
        part: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part ended although nobody asked it to.
    #[error("{part} ended unexpectedly: see the log above for its reason")]
    Ended {
        /// Which part.
        part: &'static str,
    },
}

/// An error with its causes, each once.
pub fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
