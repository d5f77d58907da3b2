//! What `doctor` found: facts, and what they mean. Serialised as the JSON of `doctor --output json`,
//! so a field's name here is a key that programs read.

mod facts;

pub use facts::*;

use serde::Serialize;

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The program's version.
    pub version: String,
    /// The configuration that was used. **None**: none was given, so the defaults were.
    pub config: Option<String>,
    /// The worst of all checks; `off` counts as `ok`.
    pub status: Status,
    /// How many checks there are of each status.
    pub counts: Counts,
    /// In the order in which they are printed.
    pub checks: Vec<Check>,
    /// What the checks rest on.
    pub facts: Facts,
}

impl Diagnosis {
    /// Sums the checks up.
    pub fn new(version: &str, config: Option<String>, checks: Vec<Check>, facts: Facts) -> Self {
        let count = |status| checks.iter().filter(|check| check.status == status).count();
        let counts = Counts {
            ok: count(Status::Ok),
            warning: count(Status::Warning),
            failing: count(Status::Failing),
            off: count(Status::Off),
        };
        let status = match counts {
            Counts { failing: 1.., .. } => Status::Failing,
            Counts { warning: 1.., .. } => Status::Warning,
            _ => Status::Ok,
        };
        Self { version: version.to_owned(), config, status, counts, checks, facts }
    }
}

/// How many checks there are of each status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All well.
    pub ok: usize,
    /// Something is lost or will be, but nothing that was asked for is missing.
    pub warning: usize,
    /// Something that was asked for does not run.
    pub failing: usize,
    /// Nobody asked for it.
    pub off: usize,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All well.
    Ok,
    /// Something is lost or will be, but what was asked for runs.
    Warning,
    /// Something that was asked for does not run.
    Failing,
    /// Nobody asked for it.
    Off,
}

impl Status {
    /// The word in text and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failing => "failing",
            Self::Off => "off",
        }
    }
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which part of the answer it stands in.
    pub group: Group,
    /// What was checked, unique within its group.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// All that the system said. **None**: nothing, or `found` has it.
    pub detail: Option<String>,
    /// What to do about it. **None**: nothing.
    pub advice: Option<String>,
}

impl Check {
    /// A check without advice.
    pub fn new(group: Group, name: &str, status: Status, found: impl Into<String>) -> Self {
        Self { group, name: name.to_owned(), status, found: found.into(), detail: None, advice: None }
    }

    /// The same with all that the system said.
    pub fn explain(mut self, detail: Option<String>) -> Self {
        self.detail = detail;
        self
    }

    /// The same with what to do.
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// The parts of the answer, in the order in which they are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Release, types, lockdown, switches.
    Kernel,
    /// Capabilities and namespaces of the process.
    Privileges,
    /// Where the kernel's programs are attached.
    Hooks,
    /// What is measured with them.
    Measurements,
    /// Memory of the kernel's maps and programs.
    Memory,
    /// The processes that forward.
    Forwarders,
    /// What else runs on this host: listeners, exporters, other agents.
    Neighbours,
}

impl Group {
    /// The word in text and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Privileges => "privileges",
            Self::Hooks => "hooks",
            Self::Measurements => "measurements",
            Self::Memory => "memory",
            Self::Forwarders => "forwarders",
            Self::Neighbours => "neighbours",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(of: &[Status]) -> Status {
        let check = |status: &Status| Check::new(Group::Kernel, "x", *status, "y");
        Diagnosis::new("0", None, of.iter().map(check).collect(), Facts::default()).status
    }

    #[test]
    fn the_worst_check_is_the_answers_status_and_off_is_well() {
        use Status::{Failing, Off, Ok, Warning};
        assert_eq!(worst(&[Ok, Off]), Ok);
        assert_eq!(worst(&[Off, Warning, Ok]), Warning);
        assert_eq!(worst(&[Failing, Warning]), Failing);
    }
}
