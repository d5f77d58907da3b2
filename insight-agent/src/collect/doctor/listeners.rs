//! Are the agent's ports free, and who has them if not?
//!
//! **Source**: `/proc/self/net/tcp` and `tcp6`, which show this process' network namespace, and the
//! links in `/proc/PID/fd`. No port is opened: an agent that starts meanwhile must not find it taken.

use super::forwarders::is_agent;
use crate::collect::host::{Root, Source};
use crate::model::doctor::{HolderFact, ListenerFact};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// TCP_LISTEN in the kernel's `net/tcp_states.h`.
const LISTEN: &str = "0A";

/// Each named address, and who listens there.
pub fn listeners(root: &Root, wanted: &[(&str, SocketAddr)]) -> Vec<ListenerFact> {
    let source = Source::new(root);
    let tables = ["tcp", "tcp6"];
    let sockets: Vec<_> = tables
        .iter()
        .filter_map(|table| source.read(format!("proc/self/net/{table}"), parse))
        .flatten()
        .collect();
    let fact = |(name, address): &(&str, SocketAddr)| {
        let taken = sockets.iter().find(|(listening, _)| collide(*listening, *address));
        ListenerFact {
            name: (*name).to_owned(),
            address: address.to_string(),
            taken: taken.is_some(),
            local: is_local(address.ip()),
            process: taken.and_then(|(_, inode)| holder(root, *inode)),
        }
    };
    wanted.iter().map(fact).collect()
}

/// Local address and inode of each listening socket. **None**: a line that is none.
fn parse(text: &str) -> Option<Vec<(SocketAddr, u64)>> {
    let mut sockets = Vec::new();
    for line in text.lines().skip(1) {
        let mut words = line.split_ascii_whitespace();
        let (local, state) = (words.nth(1)?, words.nth(1)?);
        if state == LISTEN {
            let inode = words.nth(5)?.parse().ok()?;
            sockets.push((socket(local)?, inode));
        }
    }
    Some(sockets)
}

/// `0100007F:1F90`: words of 32 bits in the byte order of the machine, then the port.
fn socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = Vec::new();
    for at in (0..address.len()).step_by(8) {
        octets.extend(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let address = match <[u8; 4]>::try_from(octets.as_slice()) {
        Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets.as_slice()).ok()?)),
    };
    Some(SocketAddr::new(address.to_canonical(), port))
}

/// Whether a socket that listens keeps another one from doing so. `[::]` takes IPv4 too, as the agent's
/// own does; a socket of somebody else that does not is not told apart.
fn collide(listening: SocketAddr, wanted: SocketAddr) -> bool {
    let covers = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    let (there, here) = (listening.ip(), wanted.ip().to_canonical());
    listening.port() == wanted.port() && (there == here || covers(there, here) || covers(here, there))
}

/// Whether this host has the address. What else may be wrong with it is not known before the start.
fn is_local(address: IpAddr) -> bool {
    let any_port = TcpListener::bind(SocketAddr::new(address, 0));
    address.is_unspecified() || !any_port.is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

/// Who has the socket open. **None**: nobody, or it may not be looked at.
fn holder(root: &Root, inode: u64) -> Option<HolderFact> {
    let source = Source::new(root);
    let wanted = format!("socket:[{inode}]");
    let has = |pid: &u32| {
        let folder = format!("proc/{pid}/fd");
        let link = |name: std::ffi::OsString| source.link(format!("{folder}/{}", name.to_string_lossy()));
        source.names(&folder).into_iter().filter_map(link).any(|target| target.as_os_str() == wanted.as_str())
    };
    let pid = source.numbers("proc").into_iter().find(has)?;
    let name = source.text(format!("proc/{pid}/comm")).unwrap_or_default();
    Some(HolderFact { pid, name, is_agent: is_agent(root, pid) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        assert_eq!(socket("0100007F:4D24"), Some(address("127.0.0.1:19748")));
        assert_eq!(socket("00000000000000000000000001000000:4D23"), Some(address("[::1]:19747")));
        assert_eq!(socket("0000000000000000FFFF00000100007F:4D23"), Some(address("127.0.0.1:19747")));
        for text in ["", "0100007F", "0100007:1", "0100007G:1", "é100007F:1"] {
            assert_eq!(socket(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_port_is_taken_by_the_same_address_or_by_one_for_all() {
        let collides = |there, here| collide(address(there), address(here));
        assert!(collides("127.0.0.1:1", "127.0.0.1:1") && !collides("127.0.0.1:1", "127.0.0.1:2"));
        assert!(!collides("127.0.0.1:1", "127.0.0.2:1"), "two addresses of one host");
        assert!(collides("[::]:1", "127.0.0.1:1") && collides("127.0.0.1:1", "[::]:1"));
        assert!(collides("0.0.0.0:1", "127.0.0.1:1") && collides("0.0.0.0:1", "[::]:1"));
        assert!(!collides("0.0.0.0:1", "[::1]:1"));
    }

    #[test]
    fn who_has_the_port_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (pid, inode) in [(40, 1), (41, 4711)] {
            fs::create_dir_all(folder.path().join(format!("proc/{pid}/fd"))).unwrap();
            fs::write(folder.path().join(format!("proc/{pid}/comm")), "insight-agent\n").unwrap();
            let stat = format!("{pid} (insight-agent) S {}\n", "0 ".repeat(48));
            fs::write(folder.path().join(format!("proc/{pid}/stat")), stat).unwrap();
            symlink(format!("socket:[{inode}]"), folder.path().join(format!("proc/{pid}/fd/7"))).unwrap();
        }
        fs::create_dir_all(folder.path().join("proc/self/net")).unwrap();
        let line = " 0: 0100007F:4D24 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1\n";
        fs::write(folder.path().join("proc/self/net/tcp"), format!("head\n{line}")).unwrap();
        let wanted = [("admin", address("127.0.0.1:19748")), ("grpc", address("127.0.0.1:19749"))];
        let found = listeners(&Root::new(folder.path()), &wanted);
        let holder = HolderFact { pid: 41, name: "insight-agent".into(), is_agent: true };
        assert_eq!((found[0].taken, &found[0].process), (true, &Some(holder)));
        assert!(!found[1].taken && found[1].local);
    }

    #[test]
    fn an_address_of_another_host_is_told() {
        assert!(!is_local("192.0.2.1".parse().unwrap()), "reserved for documentation: no host has it");
        assert!(is_local("127.0.0.1".parse().unwrap()));
    }
}
