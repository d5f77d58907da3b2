//! Two regions on one machine, with or without root: links, forwarders, services and faults to test
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
//! As root, [`Isolation::Namespaces`] gives every node a network namespace, a cpu cgroup and CPUs
//! of its own, and the WAN carries packets instead of connections ([`namespaces`]).
//!
//! Components are subcommands of the `insight-lab` program (modules [`relay`], [`forwarder`],
//! [`service`], [`load`], [`stopwatch`]), so that no package is needed; [`Forwarder::Nginx`] and
//! [`Forwarder::Haproxy`] put the real programs in place of the forwarders. Everything that
//! starts, records and ends processes is in [`harness`]; everything that carries traffic is not.
//!
//! Apart from the path stand the [`doubles`] of registries that no machine of a test has.

pub mod call;
pub mod clock;
pub mod control;
pub mod doubles;
pub mod fault;
pub mod forwarder;
pub mod grpc;
pub mod harness;
pub mod load;
pub mod namespaces;
pub mod relay;
pub mod service;
pub mod skip;
pub mod spin;
pub mod stopwatch;
pub mod topology;
pub mod tun_relay;
pub mod upstream;

pub use fault::Fault;
pub use harness::interrupt::Interrupt;
pub use harness::lab::{Lab, NodeState};
pub use harness::options::{Forwarder, Isolation, LabOptions};
pub use harness::real::{haproxy_available, nginx_available};
pub use harness::record::Identity;
pub use namespaces::{NodePlace, cpu_mask, inside, ip, namespaces_available};
pub use topology::{AgentAddresses, Topology};
