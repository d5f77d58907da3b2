//! Where figures leave the agent.

pub mod metrics;
pub mod web;
