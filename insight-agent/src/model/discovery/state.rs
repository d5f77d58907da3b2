//! How a discovery fares: what metrics and the status page show of it.

use super::LookupFailure;
use std::time::{Duration, Instant};

/// How one `[[discovery]]` fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryState {
    /// The configured name.
    pub name: String,
    /// The kind of its source.
    pub kind: &'static str,
    /// Endpoints of the roster that is used. **None**: none has come yet.
    pub endpoints: Option<usize>,
    /// When the source last said who is there, whether that was another roster or not. **None**: never.
    pub success: Option<Success>,
    /// Why it does not know at present, and since when. **None**: it knows, or has said nothing yet.
    pub failure: Option<(LookupFailure, Instant)>,
    /// Whether it says that nobody is there, and the roster before is kept because it is configured so.
    pub kept_when_empty: bool,
    /// Probes that are made of its endpoints.
    pub probes: usize,
    /// Nodes that are made of them.
    pub nodes: usize,
    /// What could not be made of them, by reason; zeros are left out.
    pub dropped: Vec<DropCount>,
}

/// When a source knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Success {
    /// On the monotonic clock.
    pub at: Instant,
    /// Since the Unix epoch. **None**: the host's clock is before it.
    pub since_epoch: Option<Duration>,
}

impl DiscoveryState {
    /// Of a source that has said nothing yet.
    pub fn new(name: String, kind: &'static str) -> Self {
        Self {
            name,
            kind,
            endpoints: None,
            success: None,
            failure: None,
            kept_when_empty: false,
            probes: 0,
            nodes: 0,
            dropped: Vec::new(),
        }
    }

    /// Whether it knows at present who is there. **None**: it has said nothing yet.
    pub fn is_up(&self) -> Option<bool> {
        if self.failure.is_some() {
            return Some(false);
        }
        self.success.map(|_| true)
    }
}

/// How many things are not made for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropCount {
    /// The reason.
    pub reason: DropReason,
    /// How many at present.
    pub count: usize,
    /// One of them: which template, which endpoint, what is wrong with it and what to do.
    pub example: String,
}

/// Why nothing is made of an endpoint that passes a template's filters: the closed set of a `reason` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// It lacks what a placeholder without a default stands for.
    MissingMeta,
    /// The name would not be one.
    InvalidName,
    /// Another value would not be usable.
    InvalidValue,
    /// Another probe, or another node, has the name.
    NameTaken,
    /// Another probe measures that link.
    LinkTaken,
    /// A node would be the agent itself.
    OwnName,
    /// More than the template, or a region, may have.
    TooMany,
}

impl DropReason {
    /// All of them, in the order of their names below.
    pub const ALL: [Self; 7] = [
        Self::MissingMeta,
        Self::InvalidName,
        Self::InvalidValue,
        Self::NameTaken,
        Self::LinkTaken,
        Self::OwnName,
        Self::TooMany,
    ];
    /// Their names.
    pub const NAMES: [&'static str; 7] =
        ["missing_meta", "invalid_name", "invalid_value", "name_taken", "link_taken", "own_name", "too_many"];

    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}
