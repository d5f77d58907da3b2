//! The host's readers against captured trees.
//!
//! | tree | what |
//! |---|---|
//! | `hybrid` | Linux 6.18: cgroup version 1 with a `cpu` controller, a version 2 mount beside it; nginx and two workers |
//! | `v1` | version 1 only, `cpu,cpuacct` mounted together, the quota on the service |
//! | `v2` | version 2 only: a service with a quota, and a container whose pod has one |
//! | `broken` | `hybrid` with letters where numbers belong, and cut lines |
//!
//! Trimmed by hand; ids and names are made up. Changed trees are made from these while testing.

#![allow(clippy::unwrap_used, reason = "helpers outside of tests, which clippy cannot tell")]

mod broken;
mod cgroups;
mod forwarders;
mod node;
mod real;
mod trees;
