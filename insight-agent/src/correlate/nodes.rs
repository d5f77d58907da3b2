//! What the hops' agents measured lately: two reports of a node make a window.

use crate::model::region::NodeEvent;
use std::time::Instant;

/// The last window of every node that answers.
#[derive(Debug, Default)]
pub struct NodeWindows {}

impl NodeWindows {
    /// Takes what a poll brought.
    pub fn take(&mut self, _event: NodeEvent, _now: Instant) {}
}
