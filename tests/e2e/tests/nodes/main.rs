//! Agents on every node of the path: what their kernels measured comes back as what was injected,
//! across two regions that reach each other through the forwarders alone.
//!
//! Each test has a lab in namespaces for itself; without root it says that it was skipped.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agents;
mod exchanges;
mod host;
mod killed;
mod loaded;
mod promql;
mod reach;
mod reports;
mod truth;
mod unprivileged;
