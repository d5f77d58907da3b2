//! What became of a new configuration while the agent ran.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What a reload changed, and what it could not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadSummary {
    /// Probes that nothing changed for.
    pub kept: usize,
    /// Names of probes that were not there before.
    pub started: Vec<String>,
    /// Names of probes that go on in another way.
    pub replaced: Vec<String>,
    /// Names of probes that are not there any more.
    pub stopped: Vec<String>,
    /// Whether `[kernel]` was loaded anew.
    pub kernel: bool,
    /// What the file says differently and what takes a restart, each with its reason where it is not the
    /// section alone. **Empty**: the agent runs as the file says.
    pub restart_required: Vec<String>,
}

impl fmt::Display for ReloadSummary {
    /// One line for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kept, started, replaced, stopped, .. } = self;
        let [started, replaced, stopped] = [started, replaced, stopped].map(Vec::len);
        write!(f, "probes: {kept} kept, {started} started, {replaced} replaced, {stopped} stopped")?;
        if self.kernel {
            f.write_str("; [kernel] is replaced")?;
        }
        if !self.restart_required.is_empty() {
            write!(f, "; counts after a restart: {}", self.restart_required.join(", "))?;
        }
        Ok(())
    }
}

/// How the running configuration stands to its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigState {
    /// Whether the last file that was read could be used.
    pub successful: bool,
    /// When one was used last, since the Unix epoch. **None**: the host's clock stands before it.
    pub success: Option<Duration>,
    /// Whether the file that was used last says something that takes a restart.
    pub restart_required: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_line_that_names_what_takes_a_restart() {
        let mut summary = ReloadSummary { kept: 7, stopped: vec!["a".into()], ..Default::default() };
        assert_eq!(summary.to_string(), "probes: 7 kept, 0 started, 0 replaced, 1 stopped");
        summary.kernel = true;
        summary.restart_required = vec!["[metrics]".into(), "[admin]".into()];
        let text = summary.to_string();
        assert!(
            text.ends_with("; [kernel] is replaced; counts after a restart: [metrics], [admin]"),
            "{text}"
        );
    }
}
