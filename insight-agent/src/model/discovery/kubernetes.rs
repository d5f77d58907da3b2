//! What is looked up at a Kubernetes API server.

use crate::model::plan::TlsPlan;
use std::path::PathBuf;

/// Most namespaces of one source: each holds a watch of its own. Beyond it one watch over all of them costs
/// the API server less.
pub const KUBERNETES_NAMESPACES_MOST: usize = 32;

/// One cluster, and which of its endpoint slices count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesPlan {
    /// Name or IP address of the API server, IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// TLS towards it; `None` is plain HTTP, such as to `kubectl proxy`. Its files are read anew for each
    /// connection.
    pub tls: Option<TlsPlan>,
    /// The file with the bearer token, read anew for each request; `None` sends none.
    pub token_file: Option<PathBuf>,
    /// The namespaces; empty is all of them. At most [`KUBERNETES_NAMESPACES_MOST`].
    pub namespaces: Vec<String>,
    /// The services' names; empty is every one.
    pub services: Vec<String>,
    /// A label selector in Kubernetes' own notation, over the labels of endpoint slices, which have those of
    /// their service.
    pub label_selector: Option<String>,
    /// The endpoints' port; `None` is each TCP port of a slice.
    pub endpoint_port: Option<PortChoice>,
    /// Whether an endpoint counts only while it is ready.
    pub ready_only: bool,
}

/// How a port is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortChoice {
    /// The one of this name in the service.
    Named(String),
    /// This one, whether the service has it or not.
    Number(u16),
}
