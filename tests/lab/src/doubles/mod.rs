//! Doubles: servers that answer as Consul's agent and Kubernetes' API server do, as far as their public documents go,
//! and that can be told to answer wrongly.
//!
//! They are no such servers: what the documents leave open is a guess, and a test against a double says nothing about
//! it. Each runs in the process of its test, on a loopback address, until its handle is dropped.

mod consul;
mod fault;
mod http;
mod kubernetes;

pub use consul::{ConsulDouble, ConsulInstance};
pub use fault::Fault;
pub use http::Server;
pub use kubernetes::{KubernetesDouble, SliceSpec};
