//! Addresses of one test's own: `127.251.N.1` and up, with `N` claimed for the test's life.
//!
//! Own addresses instead of own ports: a configuration then names fixed ports, as in production,
//! and a port that was free a moment ago cannot be taken by a neighbour.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

/// The host part that marks a block as taken, by a listener that nobody connects to.
const LOCK_HOST: u8 = 254;
/// Below the ports that the kernel hands out (`ip_local_port_range` starts at 32768).
const LOCK_PORT: u16 = 19740;

/// 253 loopback addresses; free again when dropped, and also when the process is killed.
#[derive(Debug)]
pub struct Loopback {
    block: u8,
    _lock: TcpListener,
}

impl Loopback {
    /// Claims a block that no test holds, in this process or another.
    ///
    /// # Panics
    /// All 256 blocks are taken, or this host has no loopback network.
    pub fn claim() -> Self {
        // A start that differs by process and call keeps tests that begin together apart.
        let start = RandomState::new().hash_one(std::process::id()).to_le_bytes()[0];
        for block in (0..=u8::MAX).map(|step| start.wrapping_add(step)) {
            if let Ok(lock) = TcpListener::bind((address(block, LOCK_HOST), LOCK_PORT)) {
                return Self { block, _lock: lock };
            }
        }
        panic!("no block of 127.251.0.0/16 is free: are other tests running?")
    }

    /// The block's address number `host`, 1 to 253.
    pub fn ip(&self, host: u8) -> Ipv4Addr {
        assert!((1..LOCK_HOST).contains(&host), "host {host} of a block");
        address(self.block, host)
    }

    /// The same with a port.
    pub fn at(&self, host: u8, port: u16) -> SocketAddr {
        self.at_v4(host, port).into()
    }

    /// The same for what takes IPv4 only.
    pub fn at_v4(&self, host: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip(host), port)
    }
}

fn address(block: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 251, block, host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_share_no_address() {
        let (one, other) = (Loopback::claim(), Loopback::claim());
        assert_ne!(one.ip(1), other.ip(1));
    }
}
