//! The agent's own listeners under bad callers: everybody is bounded, counted by reason, and in nobody's way.
//!
//! Each test is one kind of caller against the real program. While it does its worst `/metrics` has to answer
//! within a second, asked from the same address as the attack.
#![allow(clippy::unwrap_used, reason = "in a test, a panic that shows the error is the answer")]

mod commands;
mod crowd;
mod http1;
mod http2;
mod raw;
mod rights;
mod tls;

use insight_e2e::agent::{Agent, Config, Site};
use insight_e2e::exposition::Exposition;
use insight_e2e::http;
use insight_e2e::wait::wait_until;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longer than any bound of a listener, on a machine that does other work as well.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a scrape may take during an attack.
const SCRAPE: Duration = Duration::from_secs(1);

/// An agent under attack.
struct Target {
    agent: Agent,
    site: Site,
}

impl Target {
    fn start(config: &Config) -> Self {
        let site = Site::new();
        Self { agent: site.start(config), site }
    }

    /// The listeners that speak HTTP/1.1.
    fn http1(&self) -> [(&'static str, SocketAddr); 2] {
        [("metrics", self.site.metrics()), ("admin", self.site.admin())]
    }

    /// A scrape, which must not take longer than [`SCRAPE`]. A busy machine has three tries.
    fn scrape_in_time(&self) -> Exposition {
        let mut took = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            let answer = http::get(self.site.metrics(), "/metrics", &[]).unwrap();
            took.push(start.elapsed());
            assert_eq!(answer.status, 200, "{}", answer.body);
            if start.elapsed() <= SCRAPE {
                return Exposition::parse(&answer.body).unwrap();
            }
        }
        panic!("/metrics took {took:?}");
    }

    /// Waits until a reason has been counted this often.
    fn wait_refused(&self, listener: &str, reason: &str, least: f64) {
        wait_until(&format!("{least} {reason} of {listener}"), PATIENCE, || {
            let seen = self.scrape_in_time();
            let refused = refused(&seen, listener, reason);
            if refused >= least { Ok(()) } else { Err(told(&seen)) }
        });
    }
}

/// How often a listener gave a reason.
fn refused(seen: &Exposition, listener: &str, reason: &str) -> f64 {
    let labels = [("listener", listener), ("reason", reason)];
    seen.value("insight_listener_refused_total", &labels).unwrap()
}

/// All reasons that were given.
fn told(seen: &Exposition) -> String {
    let given = seen.samples("insight_listener_refused_total", &[]).filter(|sample| sample.value > 0.0);
    given.map(|sample| format!("{:?} {}\n", sample.labels, sample.value)).collect()
}

/// Waits until the other side has ended the connection; gives what it said.
fn closed(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut said, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            // A reset is an end too.
            Ok(0) => return said,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return said,
            Ok(count) => said.extend(&part[..count]),
            Err(error) => panic!("still open after {PATIENCE:?}: {error}, said {said:?}"),
        }
    }
}
