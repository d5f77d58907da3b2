//! Where the programs of a half run: apart, as on a forwarding node, or all on loopback.
//!
//! ```text
//! node: forwarder, agent               far: h2load, origin
//! 198.18.0.1  eth0 ══════ veth ══════ eth0  198.18.0.2 (callers), 198.18.0.3 (origin)
//! ```
//!
//! Apart means two network namespaces: the agent's scope is the node's, so the sockets of load and
//! origin are foreign to it, as everybody's are on a host that does more than forward. Names tell
//! their owner, process id and start time: what a killed bench left is found by them and removed
//! at the next start. Both ends of the link lie in the namespaces and go with them.

use super::setting::Addresses;
use anyhow::{Context, Result};
use insight_lab::{Identity, cpu_mask, inside, ip};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Where iproute2 keeps the names of network namespaces.
const NETNS_FOLDER: &str = "/run/netns";

/// What the name of every namespace begins with.
const PREFIX: &str = "insight-bench-";

/// Addresses of the link's ends, in the block that is set aside for benchmarks (RFC 2544).
const NODE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const CALLERS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const ORIGIN: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);

/// Where the halves run.
pub enum Site {
    /// Everything in the namespace of this process: figures contain load and origin.
    Loopback,
    /// Load and origin away from the node.
    Apart(Apart),
}

impl Site {
    /// The file of the node's network namespace. **None**: this process is in it.
    pub fn node(&self) -> Option<&Path> {
        match self {
            Self::Loopback => None,
            Self::Apart(apart) => Some(&apart.node),
        }
    }

    /// The same of load and origin.
    pub fn far(&self) -> Option<&Path> {
        match self {
            Self::Loopback => None,
            Self::Apart(apart) => Some(&apart.far),
        }
    }

    /// Where everything listens.
    ///
    /// # Errors
    /// Loopback has no free ports.
    pub fn addresses(&self) -> Result<Addresses> {
        match self {
            Self::Loopback => Addresses::free(),
            Self::Apart(_) => Ok(Addresses::apart(NODE, CALLERS, ORIGIN)),
        }
    }

    /// Does `work` on a thread in the namespace of the node: sockets that it makes are there.
    ///
    /// # Errors
    /// The namespace is gone. What `work` returns is not looked at.
    pub fn at_node<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        match self.node() {
            None => Ok(work()),
            Some(netns) => inside(netns, work),
        }
    }

    /// The same in that of load and origin. Threads that `work` starts are there too.
    ///
    /// # Errors
    /// As [`Self::at_node`].
    pub fn at_far<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        match self.far() {
            None => Ok(work()),
            Some(netns) => inside(netns, work),
        }
    }
}

/// Two namespaces with a link between them. Dropping removes them.
pub struct Apart {
    names: [String; 2],
    node: PathBuf,
    far: PathBuf,
}

impl Apart {
    /// Removes what dead benches left, and makes new ones. Packets are handled on the CPUs of
    /// those that they are for, as if an interrupt had brought them there.
    ///
    /// # Errors
    /// Not root, or iproute2 is missing or refuses a command; nothing stays behind.
    pub fn create(node_cpus: &[usize], far_cpus: &[usize]) -> Result<Self> {
        sweep();
        let owner = Identity::own()?;
        let names = ["node", "far"].map(|part| netns(owner, part));
        let [node, far] = names.each_ref().map(|name| Path::new(NETNS_FOLDER).join(name));
        // From here on Drop cleans up.
        let apart = Self { names, node, far };
        let [node, far] = apart.names.each_ref().map(String::as_str);
        for netns in [node, far] {
            ip(&["netns", "add", netns])?;
        }
        ip(&["-netns", node, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", far])?;
        for (netns, address) in [(node, NODE), (far, CALLERS), (far, ORIGIN)] {
            ip(&["-netns", netns, "address", "add", &format!("{address}/29"), "dev", "eth0"])?;
        }
        for (netns, cpus) in [(node, node_cpus), (far, far_cpus)] {
            for device in ["lo", "eth0"] {
                ip(&["-netns", netns, "link", "set", device, "up"])?;
            }
            steer_packets(netns, cpus)?;
        }
        for netns in [&apart.node, &apart.far] {
            inside(netns, prepare_ports).and_then(|done| done)?;
        }
        Ok(apart)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.names.iter().for_each(|name| remove(name));
    }
}

/// Removes the namespaces of benches that are no more.
fn sweep() {
    let entries = fs::read_dir(NETNS_FOLDER).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| owner_of(name).is_some_and(|owner| !owner.runs())) {
        eprintln!("removing {name}, which a bench left that did not end by itself");
        remove(&name);
    }
}

/// Removes a namespace, if it is there; what cannot be removed is reported and left.
fn remove(name: &str) {
    let done = match Path::new(NETNS_FOLDER).join(name).exists() {
        true => ip(&["netns", "del", name]),
        false => Ok(()),
    };
    if let Err(error) = done {
        eprintln!("caution: {error:#}");
    }
}

/// The name of a namespace that `owner` makes.
fn netns(owner: Identity, part: &str) -> String {
    format!("{PREFIX}{}-{}-{part}", owner.pid, owner.start_ticks)
}

/// The process that a namespace is for. **None**: the name is not ours.
fn owner_of(name: &str) -> Option<Identity> {
    let mut parts = name.strip_prefix(PREFIX)?.splitn(3, '-');
    let owner = Identity { pid: parts.next()?.parse().ok()?, start_ticks: parts.next()?.parse().ok()? };
    parts.next().is_some().then_some(owner)
}

/// Has packets that come in over the link handled on `cpus`: a veth hands them over on the CPU of
/// the sender, which here would let load and origin pay for what their peer receives.
fn steer_packets(netns: &str, cpus: &[usize]) -> Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    // Only where the kernel knows receive steering. `ip netns exec` has the namespace's /sys.
    let script = format!(
        "for file in /sys/class/net/eth0/queues/rx-*/rps_cpus; do [ ! -e $file ] || echo {} > $file; done",
        cpu_mask(cpus)
    );
    ip(&["netns", "exec", netns, "sh", "-c", &script])
}

/// Gives the calling thread's namespace enough ports for 1,000 new connections a second to one
/// address: each occupies its port for a minute more, unless that may be used again. Everything
/// here listens below them.
fn prepare_ports() -> Result<()> {
    for (file, value) in [("ip_local_port_range", "10000 65535"), ("tcp_tw_reuse", "1")] {
        let path = Path::new("/proc/sys/net/ipv4").join(file);
        fs::write(&path, value).with_context(|| format!("write {value:?} to {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Identity = Identity { pid: 12, start_ticks: 3456 };

    #[test]
    fn a_name_tells_its_owner_and_foreign_names_tell_none() {
        assert_eq!(owner_of(&netns(OWNER, "node")), Some(OWNER));
        for other in ["insight-lab-12-3456-7-node", "insight-bench-12-3456", "insight-bench-x-3456-node", "a"]
        {
            assert_eq!(owner_of(other), None, "{other}");
        }
    }
}
