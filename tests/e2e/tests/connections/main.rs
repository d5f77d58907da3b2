//! A probe's connections: several through a balancer, both versions of IP, certificates that are renewed, UNIX
//! sockets and proxies; each against the real program that has it. `docs/connections.md` says how to use them.
#![allow(clippy::unwrap_used, reason = "in a test, a panic that shows the error is the answer")]

mod balanced;
mod dual_stack;
mod rotation;
#[path = "../faults/servers.rs"]
#[allow(dead_code, reason = "the name servers are for faults")]
mod servers;
mod tunnel;
mod unix_socket;

use insight_e2e::agent::Site;
use insight_e2e::exposition::Exposition;
use std::net::SocketAddr;

/// Every peer's port.
const PORT: u16 = 15_061;

/// The address number `host` of the site's block.
fn at(site: &Site, host: u8) -> SocketAddr {
    site.loopback.at(host, PORT)
}

/// Mean of a summary with these labels. **None**: nothing is counted yet.
fn mean(seen: &Exposition, family: &str, of: &[(&str, &str)]) -> Option<f64> {
    let figure = |name: &str| seen.value(&format!("{family}_{name}"), of);
    let count = figure("count").filter(|count| *count > 0.0)?;
    Some(figure("sum")? / count)
}

/// How many samples ended well.
fn answered(seen: &Exposition, probe: &str, connection: &str) -> f64 {
    let of = [("probe", probe), ("connection", connection), ("status", "OK")];
    seen.sum("insight_probe_results_total", &of).unwrap_or(0.0)
}

/// How many samples failed so.
fn failed(seen: &Exposition, probe: &str, class: &str, phase: &str) -> f64 {
    let of = [("probe", probe), ("class", class), ("phase", phase)];
    seen.sum("insight_probe_failures_total", &of).unwrap_or(0.0)
}
