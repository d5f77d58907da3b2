//! The agent's configuration: everything of the kernel half on, as many peer groups as there can be.

use anyhow::{Context, Result};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Configured peer groups: the most that there can be beside the one for everybody else.
pub const GROUPS: u32 = 63;

/// The address of group `at`, below [`GROUPS`].
pub fn address(at: u32) -> Ipv4Addr {
    // 127.19.0.1 and the following: away from where tests and demos listen.
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 19, 0, 1)) + at)
}

/// How many of `connections` group `at` has.
pub fn share(connections: u32, at: u32) -> u32 {
    connections / GROUPS + u32::from(at < connections % GROUPS)
}

/// Where the agent listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Its metrics.
    pub metrics: SocketAddr,
    /// Its API.
    pub admin: SocketAddr,
    /// Its receiver, which nobody calls.
    pub grpc: SocketAddr,
}

impl Addresses {
    /// Ports that are free now: all are held at once, then let go.
    ///
    /// # Errors
    /// Loopback has none, or is not there.
    pub fn free() -> Result<Self> {
        let hold = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port on 127.0.0.1");
        let held = [hold()?, hold()?, hold()?];
        let address = |at: usize| held[at].local_addr().context("read the address of a listener");
        Ok(Self { metrics: address(0)?, admin: address(1)?, grpc: address(2)? })
    }
}

/// The agent.
pub fn agent(addresses: &Addresses) -> String {
    let Addresses { metrics, admin, grpc } = addresses;
    let mut text = format!(
        "[agent]\nregion = \"bench\"\nname = \"bench\"\nlog = \"warn\"\n[metrics]\nlisten = \"{metrics}\"\n[admin]\n\
         listen = \"{admin}\"\n[grpc]\nlisten = \"{grpc}\"\n[kernel]\nenabled = true\n"
    );
    for forwarder in ["nginx", "haproxy"] {
        // Writing to a String cannot fail.
        let _ = write!(text, "[[forwarder]]\nname = \"{forwarder}\"\nprocess = \"{forwarder}\"\n");
    }
    for at in 0..GROUPS {
        let _ =
            write!(text, "[[kernel.peer]]\nname = \"group-{}\"\nnetworks = [\"{}\"]\n", at + 1, address(at));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_is_in_one_group() {
        let all = |connections| (0..GROUPS).map(|at| share(connections, at)).sum::<u32>();
        assert_eq!((all(10_000), all(0), all(62), all(63)), (10_000, 0, 62, 63));
        assert!((0..GROUPS).all(|at| (158..=159).contains(&share(10_000, at))));
    }

    #[test]
    fn the_configuration_is_toml_with_a_group_for_each_address() {
        let table: toml::Table = agent(&Addresses::free().unwrap()).parse().unwrap();
        let groups = table["kernel"]["peer"].as_array().unwrap();
        assert_eq!(groups.len(), 63);
        assert_eq!(groups[62]["networks"][0].as_str(), Some("127.19.0.63"));
        assert_eq!(address(62), Ipv4Addr::new(127, 19, 0, 63));
    }
}
