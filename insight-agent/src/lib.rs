//! Insight's agent as a library: probe a path, take its latency apart, export it.
//!
//! Folders follow the data from left to right and imports never run back:
//! `model` ← `collect` → `correlate` → `publish`; only [`agent`] knows them all.

pub mod agent;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod config;
pub mod correlate;
pub mod door;
pub mod model;
pub mod proto;
pub mod publish;
pub mod secret;
pub mod serve;
