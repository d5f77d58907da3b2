//! What a double can be told to do wrong.

use std::time::Duration;

/// How every request is answered, instead of as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// With this status and body.
    Status {
        /// The HTTP status.
        code: u16,
        /// Any text.
        body: String,
        /// Seconds of a `retry-after`.
        retry_after: Option<u32>,
    },
    /// Not at all; the connection stays open.
    Silence,
    /// Rightly, and so much later.
    Slow(Duration),
    /// With the first half of the right answer, behind which the connection is closed.
    Torn,
    /// With status 200 and text that is not JSON.
    Garbage,
    /// With status 200 and spaces without an end.
    Endless,
}

impl Fault {
    /// Status 500, as Consul says it without a leader.
    pub fn no_leader() -> Self {
        Self::status(500, "No cluster leader")
    }

    /// A status with a text.
    pub fn status(code: u16, body: &str) -> Self {
        Self::Status { code, body: body.into(), retry_after: None }
    }
}
