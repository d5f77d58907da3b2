//! Plain data: what is measured, what it is called, and what its absence means.
//!
//! Nothing here does I/O and nothing here imports another module of the agent. Everything else
//! speaks in these types, so a reader who knows this folder can read any other one.

pub mod burst;
pub mod certificate;
pub mod connection_event;
pub mod dial;
pub mod discovery;
pub mod doctor;
pub mod expect;
pub mod field_path;
pub mod figure;
pub mod glob;
pub mod health;
pub mod hop;
pub mod host;
pub mod kernel;
pub mod ledger;
pub mod method;
pub mod outcome;
pub mod plan;
pub mod refusal;
pub mod region;
pub mod reload;
pub mod report;
pub mod sample;
pub mod series;
pub mod status;
pub mod window;
