//! Discovery sources against doubles of their registries, which also answer wrongly.

#![allow(clippy::unwrap_used, reason = "helpers outside of tests, which clippy cannot tell")]

mod consul;
mod consul_faults;
mod kubernetes;
mod kubernetes_faults;
mod support;
mod trust;
