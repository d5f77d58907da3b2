//! Methods in JSON, streams and health watches: the real binary against the lab's service.
#![allow(clippy::unwrap_used, reason = "in a test, a panic that shows the error is the answer")]

mod daemon;
mod one_shot;

use insight_e2e::agent::Site;
use insight_e2e::wait::{PATIENCE, wait_until};
use insight_lab::service::{self, ServiceTime};
use std::net::{SocketAddr, TcpStream};

const PORT: u16 = 8480;

/// A service of the lab, for as long as the test runs.
fn service(site: &Site) -> SocketAddr {
    let (address, control) = (site.loopback.at(2, PORT), site.loopback.at(2, PORT + 1));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(service::run(address, control, ServiceTime::default())).unwrap();
    });
    wait_until("the service", PATIENCE, || {
        TcpStream::connect(address).map(drop).map_err(|error| error.to_string())
    });
    address
}
