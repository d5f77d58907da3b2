//! Pure functions over `model`: from samples to ledgers, windows and states.
//!
//! Nothing here reads a clock, a file or a socket: time comes in as a parameter, so every rule
//! can be tested with invented samples.

pub mod doctor;
mod hop_host;
pub mod ledger;
pub mod measurements;
pub mod nodes;
pub mod totals;
pub mod window;
pub mod window_ledger;

#[cfg(test)]
mod fixtures;
