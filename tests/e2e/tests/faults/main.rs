//! Faults: how each of them ends a probe, exactly, and that it ends nothing else.
//!
//! The real program probes real servers that fail (nginx, HAProxy, Envoy, dnsmasq, unbound, grpcio), and doubles
//! of peers that no server can be configured to be. Each fault has one class and one phase, in
//! `/metrics`, on the status page and in the one-shot probe's JSON; none of them ever enters a latency,
//! and a good probe beside them goes on. `docs/failures.md` is the table of it.
#![allow(clippy::unwrap_used, reason = "in a test, a panic that shows the error is the answer")]

mod answers;
mod bursts;
mod case;
mod connections;
mod envoy;
mod names;
mod pings;
mod proxies;
mod reach;
mod servers;
mod stalls;
mod tls;
mod windows;
