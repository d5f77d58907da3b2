//! Pure functions over `model`: from samples to ledgers and windows.

pub mod ledger;
