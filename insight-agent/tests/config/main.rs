//! The configuration from outside: every error by its bad input (line, key, value and advice), the
//! documented example, and the plans that come out.

#![allow(clippy::unwrap_used, reason = "clippy knows test functions, but not the functions they share")]

mod calls;
mod connections;
mod discovery;
mod example;
mod files;
mod fit;
mod guide;
mod host;
mod links;
mod plans;
mod readme;
mod registries;
mod reports;
mod support;
mod tables;
mod values;
