//! Which sockets listen on a port, and who has them open?
//!
//! **Source**: `/proc/PID/net/tcp` and `tcp6`, which show the network namespace of that process,
//! and the links in `/proc/PID/fd`. An own reader: `procfs::net::TcpNetEntries` builds every
//! connection of a busy proxy, and one line that it does not like hides all listeners.

use super::root::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Inode numbers of listening sockets, by port.
pub(super) type Listening = BTreeMap<u16, BTreeSet<u64>>;

/// Columns of the table.
const LOCAL: usize = 1;
const STATE: usize = 3;
const INODE: usize = 9;

/// TCP_LISTEN in the kernel's `net/tcp_states.h`.
const LISTEN: &str = "0A";

/// Listening sockets, read once for each network namespace.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    by_namespace: BTreeMap<PathBuf, Listening>,
}

impl Listeners {
    /// Whether a process has a socket open that listens on `port` in the process' own namespace.
    pub(super) fn has(&mut self, source: &Source<'_>, pid: u32, port: u16) -> bool {
        let Some(inodes) = self.of(source, pid).get(&port) else { return false };
        sockets(source, pid).any(|inode| inodes.contains(&inode))
    }

    /// The ports that a process listens on in its own namespace. Empty also where its sockets may
    /// not be read.
    pub(super) fn ports(&mut self, source: &Source<'_>, pid: u32) -> BTreeSet<u16> {
        let own: BTreeSet<u64> = sockets(source, pid).collect();
        let listening = self.of(source, pid).iter();
        listening.filter(|(_, inodes)| !inodes.is_disjoint(&own)).map(|(port, _)| *port).collect()
    }

    /// Whether anybody listens on `port` in the network namespace of a process.
    pub(super) fn listens(&mut self, source: &Source<'_>, pid: u32, port: u16) -> bool {
        self.of(source, pid).contains_key(&port)
    }

    /// What listens in the namespace of a process.
    fn of(&mut self, source: &Source<'_>, pid: u32) -> &Listening {
        // Without its namespace's name (no privilege) the process has a namespace of its own here.
        let namespace = source.link(format!("proc/{pid}/ns/net"));
        let namespace = namespace.unwrap_or_else(|| PathBuf::from(pid.to_string()));
        self.by_namespace.entry(namespace).or_insert_with(|| read(source, pid))
    }
}

/// Inode numbers of the sockets that a process has open.
fn sockets(source: &Source<'_>, pid: u32) -> impl Iterator<Item = u64> {
    let folder = PathBuf::from(format!("proc/{pid}/fd"));
    let names = source.names(&folder).into_iter();
    names.filter_map(move |name| socket_inode(source.link(folder.join(name))?.to_str()?))
}

fn read(source: &Source<'_>, pid: u32) -> Listening {
    let mut listening = Listening::new();
    for table in ["tcp", "tcp6"] {
        let sockets = source.read(format!("proc/{pid}/net/{table}"), parse).unwrap_or_default();
        for (port, inode) in sockets {
            listening.entry(port).or_default().insert(inode);
        }
    }
    listening
}

/// Port and inode of each listening socket. **None**: a line with less columns, or with another
/// word where a number belongs.
pub(super) fn parse(text: &str) -> Option<Vec<(u16, u64)>> {
    let mut sockets = Vec::new();
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_ascii_whitespace().take(INODE + 1).collect();
        if *words.get(STATE)? == LISTEN {
            let (_, port) = words[LOCAL].rsplit_once(':')?;
            let inode = words.get(INODE)?.parse().ok()?;
            sockets.push((u16::from_str_radix(port, 16).ok()?, inode));
        }
    }
    Some(sockets)
}

/// The number in `socket:[NUMBER]`.
fn socket_inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n\
        \x20  1: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n";

    #[test]
    fn only_listening_sockets_count() {
        assert_eq!(parse(TEXT), Some(vec![(8080, 4711)]));
        assert_eq!(parse(&TEXT.replace("4711", "x")), None);
        assert_eq!(parse(&TEXT.replace(":1F90 0000", ":1F9g 0000")), None);
        assert_eq!(parse("head\n 0: a b\n"), None);
    }

    #[test]
    fn a_link_names_its_socket() {
        assert_eq!(socket_inode("socket:[4711]"), Some(4711));
        assert_eq!(socket_inode("pipe:[4711]"), None);
    }
}
