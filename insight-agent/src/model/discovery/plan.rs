//! What is watched, and how: the checked form of a `[[discovery]]`.

use super::consul::ConsulPlan;
use super::kubernetes::KubernetesPlan;
// An address is data, and `std::net` is sockets, which have no place here.
use core::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One `[[discovery]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryPlan {
    /// Unique; the `discovery` label.
    pub name: String,
    /// Where it looks.
    pub source: SourcePlan,
    /// Whether a roster without endpoints is taken for a mistake as long as one with some is known.
    pub keep_when_empty: bool,
}

/// Where endpoints are looked up. Two that are equal look in the same place in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourcePlan {
    /// Files on this host.
    File(FilePlan),
    /// Names in the DNS.
    Dns(DnsPlan),
    /// Services of a Consul catalog.
    Consul(ConsulPlan),
    /// Endpoint slices of a Kubernetes cluster.
    Kubernetes(KubernetesPlan),
}

impl SourcePlan {
    /// The kind's name: the table below `[[discovery]]`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Dns(_) => "dns",
            Self::Consul(_) => "consul",
            Self::Kubernetes(_) => "kubernetes",
        }
    }
}

/// Files with endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePlan {
    /// Paths, of which the last part may be a pattern with `*` and `?`; not empty.
    pub paths: Vec<PathBuf>,
}

/// Names in the DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsPlan {
    /// Not empty, unique. Those that end in a point are asked for as they are, others along the search list
    /// of the system as well.
    pub names: Vec<String>,
    /// What is asked for of each name; not empty, unique.
    pub records: Vec<DnsRecord>,
    /// Port of endpoints from A and AAAA records; SRV records bring their own, and leave it 0.
    pub port: u16,
    /// Who is asked. **None**: those of `/etc/resolv.conf`.
    pub server: Option<SocketAddr>,
    /// How long an answer is waited for, further tries included.
    pub timeout: Duration,
    /// An answer counts at least so long, whatever its TTL.
    pub min_ttl: Duration,
    /// An answer counts at most so long; not shorter than the least.
    pub max_ttl: Duration,
}

/// Types of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DnsRecord {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Names with their ports.
    Srv,
}

impl DnsRecord {
    /// As the DNS writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Srv => "SRV",
        }
    }
}
