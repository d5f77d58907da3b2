//! The HTTP listeners: who may read what, and what a hostile or broken client can do (nothing).
//!
//! *metrics* is made to be reached from outside: read only, no addresses, no secrets, with TLS
//! and basic auth on request. *admin* is the loopback API. Both serve HTTP/1.1 from memory; a
//! listener's only waits are for its clients, and each of those has a bound (see `accept` and [`crate::door`]).

mod accept;
mod admin;
mod bind;
mod metrics;
mod origin;
mod refusals;
mod reply;
mod shared_page;
#[cfg(test)]
mod tests;
mod web_config;

pub use crate::secret::Secret;
pub use admin::{AdminListener, ReloadSource, StatusSource, serve_admin};
pub use bind::{BindError, bind};
pub use metrics::{Exposition, MetricsListener, serve_metrics};
pub use web_config::{WebConfig, WebConfigError};

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

/// Whether the agent does its work yet: what `/-/ready` answers.
#[derive(Debug)]
pub struct Readiness {
    /// Why it is not. **None**: it is.
    reason: Mutex<Option<Cow<'static, str>>>,
}

impl Readiness {
    /// Not ready, for this reason.
    pub fn not_yet(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: Mutex::new(Some(reason.into())) }
    }

    /// From now on: ready.
    pub fn set_ready(&self) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// From now on: not ready, for this reason.
    pub fn set_not_ready(&self, reason: impl Into<Cow<'static, str>>) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.into());
    }

    /// Why the agent is not ready. **None**: it is.
    pub fn obstacle(&self) -> Option<Cow<'static, str>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
