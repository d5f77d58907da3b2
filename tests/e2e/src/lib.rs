//! Placeholder.

pub mod exposition;
