//! Two regions on one machine, without root: links, forwarders, services and faults to test
//! Insight against.
//!
//! One run ([`Lab`]) claims a loopback subnet `127.S.0.0/16`, starts every component of the path
//! as a child process on addresses of its own, and removes all of it again:
//!
//! ```text
//! insight-eu ─► mediary-a ─► wan relay ─► mediary-b ─► gateway-b ─┬► insight-sg   (insight)
//!                                                                 ├► service-b    (business)
//!                                                                 └► slow-b       (background)
//! ```
//!
//! Components are subcommands of the `insight-lab` program (modules [`relay`], [`forwarder`],
//! [`service`], [`load`]), so that no package is needed; [`Forwarder::Nginx`] and
//! [`Forwarder::Haproxy`] put the real programs in place of the forwarders. Everything that
//! starts, records and ends processes is in [`harness`]; everything that carries traffic is not.

pub mod call;
pub mod clock;
pub mod control;
pub mod fault;
pub mod forwarder;
pub mod grpc;
pub mod harness;
pub mod load;
pub mod relay;
pub mod service;
pub mod skip;
pub mod topology;
pub mod upstream;

pub use fault::Fault;
pub use harness::interrupt::Interrupt;
pub use harness::lab::{Lab, NodeState};
pub use harness::options::{Forwarder, LabOptions};
pub use harness::real::{haproxy_available, nginx_available};
pub use topology::{AgentAddresses, Topology};
