//! What is looked up at a Consul agent.

use crate::model::plan::TlsPlan;
use std::path::PathBuf;
use std::time::Duration;

/// Most services of one source: each holds a connection for its blocking query, and a Consul agent accepts
/// 200 of one address by default (`http_max_conns_per_client`).
pub const CONSUL_SERVICES_MOST: usize = 100;

/// One Consul agent, and which of its catalog's instances count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsulPlan {
    /// Name or IP address of its HTTP API, IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// TLS towards it; `None` is plain HTTP.
    pub tls: Option<TlsPlan>,
    /// The file with the ACL token, read anew for each request; `None` asks anonymously.
    pub token_file: Option<PathBuf>,
    /// The datacenter that is asked about; `None` is the asked agent's own.
    pub datacenter: Option<String>,
    /// The namespace (Consul Enterprise); `None` is the token's.
    pub namespace: Option<String>,
    /// The services; empty is every one of the catalog. At most [`CONSUL_SERVICES_MOST`], listed or not.
    pub services: Vec<String>,
    /// Tags that an instance must have, all of them.
    pub tags: Vec<String>,
    /// Whether an instance counts only while all of its checks pass.
    pub passing_only: bool,
    /// How long an answer may be held back while nothing changes. Range: 1 s to 10 min.
    pub wait: Duration,
    /// Whether any server may answer, and not the leader alone.
    pub stale: bool,
}
