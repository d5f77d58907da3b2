//! What a service says of its health, as long as somebody listens.

use super::outcome::Failure;
use serde::{Deserialize, Serialize};

/// A state of `grpc.health.v1.HealthCheckResponse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServingState {
    /// It does not know, or says what this version does not know.
    Unknown,
    /// It takes requests.
    Serving,
    /// It does not.
    NotServing,
    /// The server does not know the service that is asked about; it may come.
    ServiceUnknown,
}

impl ServingState {
    /// As the protocol writes it.
    pub const fn as_str(self) -> &'static str {
        ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"][self as usize]
    }
}

/// What happened on a health watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthEvent {
    /// The service said this; also when it is no change, as after a reconnect.
    Told(ServingState),
    /// The stream ended, or could not be opened: nothing is known any more.
    Broken(Failure),
}
