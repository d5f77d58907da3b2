//! How a run is set up.

use anyhow::{Result, bail};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Which programs stand on the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forwarder {
    /// All three hops are the embedded reference forwarder: needs no package.
    Embedded,
    /// nginx as both mediaries, HAProxy as the gateway.
    Nginx,
    /// HAProxy as both mediaries and as the gateway.
    Haproxy,
}

impl Forwarder {
    /// Every variant.
    pub const ALL: [Forwarder; 3] = [Forwarder::Embedded, Forwarder::Nginx, Forwarder::Haproxy];

    /// The name on command lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Forwarder::Embedded => "embedded",
            Forwarder::Nginx => "nginx",
            Forwarder::Haproxy => "haproxy",
        }
    }
}

impl fmt::Display for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Forwarder {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Forwarder> {
        match Forwarder::ALL.into_iter().find(|f| f.as_str() == text) {
            Some(found) => Ok(found),
            None => bail!("forwarder {text:?}: expected embedded, nginx or haproxy"),
        }
    }
}

/// What keeps the nodes of a run apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// Addresses only: everything on loopback, without root.
    #[default]
    Loopback,
    /// A network namespace, a cpu cgroup and CPUs for each node, packets over the WAN; agents
    /// measure their own node in the kernel. Needs root; see
    /// [`namespaces_available`](crate::namespaces_available).
    Namespaces,
}

impl FromStr for Isolation {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Isolation> {
        match text {
            "loopback" => Ok(Isolation::Loopback),
            "namespaces" => Ok(Isolation::Namespaces),
            _ => bail!("isolation {text:?}: expected loopback or namespaces"),
        }
    }
}

/// What [`Lab::start`](super::lab::Lab::start) needs to know. [`LabOptions::new`] gives the
/// defaults named here.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// Which programs stand on the path; default embedded.
    pub forwarder: Forwarder,
    /// The `insight-agent` program.
    pub agent_binary: PathBuf,
    /// The `insight-lab` program: every embedded component, and the launcher of all others.
    pub lab_binary: PathBuf,
    /// Background requests per second through the whole path; 0 (the default) starts no load.
    pub background_rps: f64,
    /// Round-trip time of the WAN link without any fault; default 20 ms, half in each direction.
    pub wan_rtt: Duration,
    /// Leave the run's folder with its logs behind; default false. The processes end anyway.
    pub keep: bool,
    /// Start the agents of both regions; default true. Without them nothing answers
    /// `x-target-service: insight`.
    pub start_agents: bool,
    /// TOML appended to the configuration of the sending agent (eu), for example one more
    /// `[[probe]]`; default empty.
    pub prober_config_extra: String,
    /// The `interval` of every probe; default 100 ms.
    pub probe_interval: Duration,
    /// What keeps the nodes apart; default loopback addresses only.
    pub isolation: Isolation,
    /// Start one more agent on each forwarding node, in the node's namespace and cgroups: node
    /// `agent@mediary-a` and so on; default false. It sends no requests (see `link_probes`); the
    /// agents of both regions fetch its reports. Independent of `start_agents`.
    pub node_agents: bool,
    /// The hops tell what a request took in them (`x-insight-hop`); default true. Without it a
    /// ledger has to stand on what the nodes' agents measure.
    pub hop_headers: bool,
    /// Every agent on the path measures the link to the next hop by a probe of its own; default
    /// true. Only in namespaces: on loopback all links are the same.
    pub link_probes: bool,
}

impl LabOptions {
    /// The defaults, with the two programs that only the caller can know.
    pub fn new(agent_binary: impl Into<PathBuf>, lab_binary: impl Into<PathBuf>) -> LabOptions {
        LabOptions {
            forwarder: Forwarder::Embedded,
            agent_binary: agent_binary.into(),
            lab_binary: lab_binary.into(),
            background_rps: 0.0,
            wan_rtt: Duration::from_millis(20),
            keep: false,
            start_agents: true,
            prober_config_extra: String::new(),
            probe_interval: Duration::from_millis(100),
            isolation: Isolation::default(),
            node_agents: false,
            hop_headers: true,
            link_probes: true,
        }
    }
}
