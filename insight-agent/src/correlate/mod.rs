//! Pure functions over `model`: from samples to ledgers, windows and states.
//!
//! Nothing here reads a clock, a file or a socket: time comes in as a parameter, so every rule
//! can be tested with invented samples.

mod by_probe;
pub mod doctor;
mod hop_host;
pub mod ledger;
pub mod measurements;
pub mod nodes;
mod quantiles;
pub mod totals;
pub mod window;
pub mod window_ledger;

#[cfg(test)]
mod fixtures;
