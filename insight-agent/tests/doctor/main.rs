//! `insight-agent doctor` as its users run it, and what it leaves behind.
//!
//! What a machine without this or that would be told is tested with invented facts, beside the code. Here
//! is the running kernel. Other agents and labs may run on the same machine, so that nothing is said of
//! their absence.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attached;
mod cli;
mod leftovers;
mod support;
