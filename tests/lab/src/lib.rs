//! Placeholder.

pub mod skip;
