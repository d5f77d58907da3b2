//! The root lab: every node of a run in a network namespace, a cpu cgroup and a CPU set of its
//! own.
//!
//! ```text
//!        region eu (a switch)                             region sg (a switch)
//! insight-eu ─┬─ mediary-a ═ wan0 ─ tun-relay ─ wan0 ═ mediary-b ─┬─ gateway-b ─ service-b
//!       load ─┘                                                   └─ slow-b ─ insight-sg
//! ```
//!
//! Between the regions there is no route: mediary-a and mediary-b each hold one end of the WAN,
//! a TUN device, and forward nothing but what their processes send. A management link per node
//! leads to the harness in the namespace that started the run, and no further (`network`).
//!
//! Everything made here carries the run's name (`names`), so that the next start can tell what
//! a dead harness left and remove it (`sweep`). Nothing else is ever touched.

pub(crate) mod cgroup;
mod host;
mod inside;
mod names;
mod network;
mod place;
mod plan;
mod sweep;

pub use host::{cpu_mask, ip};
pub use inside::inside;
pub(crate) use inside::move_into;
pub(crate) use network::WAN_DEVICE;
pub(crate) use place::Places;
pub use place::{NodePlace, namespaces_available};
#[cfg(test)]
pub(crate) use plan::apart as topology_apart;
pub(crate) use plan::near_end_of_wan;
pub(crate) use sweep::sweep;
