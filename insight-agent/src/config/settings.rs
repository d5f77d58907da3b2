//! What a checked configuration holds: plain values with their defaults filled in.

use super::discovery;
use super::template::Template;
use super::values::HostPort;
use crate::model::dial::{IpVersion, ProxyPlan};
use crate::model::discovery::DiscoveryPlan;
use crate::model::expect::Expectations;
use crate::model::host::Selector;
use crate::model::plan::{Call, Connection, Mode, ServerTimingMeaning, TlsPlan};
use insight_common::kernel::loss::Measurement;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The whole configuration, checked. Every value is within its documented range, every name it
/// refers to exists, and every file it names was readable when it was loaded.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[agent]`
    pub agent: Agent,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[admin]`
    pub admin: Admin,
    /// `[grpc]`
    pub grpc: Grpc,
    /// `[probing]`
    pub probing: Probing,
    /// `[host]`
    pub host: Host,
    /// Every `[[forwarder]]`, in the order of the file; names are unique, each has a criterion.
    pub forwarders: Vec<Selector>,
    /// `[kernel]`
    pub kernel: Kernel,
    /// Every `[[discovery]]`, in the order of the file; names are unique.
    pub discoveries: Vec<DiscoveryPlan>,
    /// Every `[[node]]` that stands for the endpoints of a discovery, in the order of the file.
    pub node_templates: Vec<discovery::Template>,
    /// Every `[[probe]]` that does, in the order of the file.
    pub probe_templates: Vec<discovery::Template>,
    /// What templates would make, with something for each placeholder: [`Config::of_samples`].
    pub(super) samples: (Vec<Node>, Vec<Probe>),
    /// The configuration file's folder, where relative paths start.
    pub(super) base: PathBuf,
    /// Every other `[[node]]`, in the order of the file; names are unique, none is the agent's own.
    pub nodes: Vec<Node>,
    /// Every `[[route]]`, in the order of the file.
    pub routes: Vec<Route>,
    /// Every other `[[probe]]`, in the order of the file; empty for a pure receiver.
    pub probes: Vec<Probe>,
}

/// Who this agent is and how it logs.
#[derive(Debug, Clone)]
pub struct Agent {
    /// The configured name, else the host name.
    pub name: String,
    /// The region it stands in.
    pub region: String,
    /// A filter in the syntax of `tracing_subscriber::EnvFilter`; parses.
    pub log: String,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Whether a change of the file alone has it read again while the agent runs.
    pub watch_config: bool,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The listener of `/metrics` and the health pages.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Where it binds.
    pub listen: SocketAddr,
    /// Prometheus' web configuration (TLS and basic auth). **None**: plain HTTP for everyone.
    pub web_config_file: Option<PathBuf>,
    /// How many it takes.
    pub connections: Connections,
}

/// How many connections a listener keeps open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// At most, in all.
    pub most: usize,
    /// At most from one IPv4 address or IPv6 /64.
    pub per_peer: usize,
}

/// The listener of the API.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where it binds.
    pub listen: SocketAddr,
    /// File with the bearer token that callers must present. **None**: no token is asked for.
    pub token_file: Option<PathBuf>,
    /// Whether the risk of an open listener beyond loopback is accepted.
    pub insecure: bool,
    /// How many it takes.
    pub connections: Connections,
}

/// The listener of the gRPC services: the receiver, reports, health, reflection.
#[derive(Debug, Clone)]
pub struct Grpc {
    /// Where it binds.
    pub listen: SocketAddr,
    /// Longest delay a caller may ask for.
    pub max_delay: Duration,
    /// Largest payload of a request or a response.
    pub max_payload_bytes: usize,
    /// Whether server reflection is offered.
    pub reflection: bool,
    /// File with milliseconds that the receiver adds to every answer, to rehearse an incident; it
    /// may come and go while the agent runs. **None**: no drills.
    pub drill_delay_file: Option<PathBuf>,
    /// Whether other agents may fetch this agent's figures.
    pub reports: bool,
    /// File with the bearer token that readers of reports must present. **None**: none is asked for.
    pub token_file: Option<PathBuf>,
    /// Whether the risk of open reports beyond loopback is accepted.
    pub insecure: bool,
    /// **None**: plaintext HTTP/2.
    pub tls: Option<ServerTls>,
    /// How many it takes.
    pub connections: Connections,
}

/// TLS of a listener: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate chain, the listener's own certificate first.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// Authorities of client certificates. **None**: callers need no certificate.
    pub client_ca_file: Option<PathBuf>,
}

/// What holds for every probe.
#[derive(Debug, Clone, Copy)]
pub struct Probing {
    /// Length of the windows that samples are summed up over.
    pub window: Duration,
    /// The part of each interval that its sample is due in, at random.
    pub jitter: f64,
    /// Samples of a closer look when a probe has become worse.
    pub burst: u32,
    /// Share of a sample's latency that the prober's own wait may explain before the sample is voided.
    pub void_share: f64,
    /// Most samples of one probe that may be under way at once.
    pub max_in_flight: usize,
}

/// Reading the host's own figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Whether the host is read at all.
    pub enabled: bool,
    /// Whether the `node_*` families are read and exported.
    pub node_metrics: bool,
    /// The time between two readings.
    pub period: Duration,
}

/// Measuring sockets inside the kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Whether programs are loaded at all.
    pub enabled: bool,
    /// Whether a new file replaces all this while the agent runs, for which it keeps the right to load.
    pub reloadable: bool,
    /// Which of them; unique, and in the order of their numbers.
    pub measurements: Vec<Measurement>,
    /// Only sockets of processes below this cgroup. **None**: of any.
    pub scope_cgroup: Option<PathBuf>,
    /// Only sockets of these network namespaces, as files. **Empty**: of any.
    pub scope_namespaces: Vec<PathBuf>,
    /// Names of devices whose queues are measured; unique, at most 16.
    pub devices: Vec<String>,
    /// Exchanges of a new connection that are left out.
    pub skip_exchanges: u16,
    /// One in so many connections is measured in full. 1: all.
    pub sample_one_in: u32,
    /// Whether sizes of HTTP/2 housekeeping are no request and no answer.
    pub http2: bool,
    /// Every `[[kernel.peer]]`, in the order of the file; names are unique.
    pub peers: Vec<Peer>,
}

/// One `[[kernel.peer]]`: addresses that share a label.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The `peer` label.
    pub name: String,
    /// Address and length of the prefix. **Empty**: it has hosts.
    pub networks: Vec<(IpAddr, u8)>,
    /// Host names, whose addresses are looked up again and again. **Empty**: it has networks.
    pub hosts: Vec<String>,
    /// Ports of the service. **Empty**: all.
    pub ports: Vec<u16>,
}

/// One `[[node]]`: an agent of this region, on a hop, whose reports are fetched.
#[derive(Debug, Clone)]
pub struct Node {
    /// The hop's name as routes have it; the agent there must call itself so.
    pub name: String,
    /// Its gRPC listener.
    pub address: HostPort,
    /// The HTTP/2 `:authority`.
    pub authority: String,
    /// File with the bearer token that is presented to it. **None**: none is.
    pub token_file: Option<PathBuf>,
    /// **None**: plaintext HTTP/2 with prior knowledge.
    pub tls: Option<TlsPlan>,
}

/// One `[[route]]`: a way into the forwarding layer.
#[derive(Debug, Clone)]
pub struct Route {
    /// Unique.
    pub name: String,
    /// The first hop.
    pub address: HostPort,
    /// **None**: straight to the first hop.
    pub proxy: Option<ProxyPlan>,
    /// The HTTP/2 `:authority`.
    pub authority: String,
    /// Name of this agent's end of the first link.
    pub origin: String,
    /// In path order; may be empty.
    pub hops: Vec<String>,
    /// Ordered by name; names are lower case.
    pub metadata: Vec<(String, Template)>,
    /// File with the bearer token that is presented when the target region's report is fetched
    /// along this route. **None**: none is.
    pub report_token_file: Option<PathBuf>,
    /// **None**: plaintext HTTP/2 with prior knowledge.
    pub tls: Option<TlsPlan>,
    /// The hop whose Envoy writes `x-envoy-upstream-service-time`. **None**: not read.
    pub envoy_hop: Option<String>,
    /// The hop whose Kong writes `X-Kong-*-Latency`. **None**: not read.
    pub kong_hop: Option<String>,
    /// `Server-Timing` metric name → what it means.
    pub server_timing: BTreeMap<String, ServerTimingMeaning>,
}

/// One `[[probe]]`.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Unique.
    pub name: String,
    /// The region asked.
    pub target: String,
    /// Fills `{service}`.
    pub service: String,
    /// Where it goes.
    pub way: Way,
    /// How it asks.
    pub mode: Mode,
    /// What it asks.
    pub call: Call,
    /// What an answer must be.
    pub expect: Expectations,
    /// Time between two samples of one connection kind.
    pub interval: Duration,
    /// After this a sample is late.
    pub deadline: Duration,
    /// How long after the deadline an answer is still waited for.
    pub drain: Duration,
    /// Not empty, unique.
    pub connections: Vec<Connection>,
    /// How many connections the reused one stands for.
    pub reused_connections: usize,
    /// Over which addresses it goes.
    pub ip: Ip,
    /// Whether an HTTP/2 PING goes along with each sample on the reused connection.
    pub ping: bool,
    /// Named metrics of the service's load reports that are kept; unique.
    pub load_metrics: Vec<String>,
}

/// Over which addresses a probe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ip {
    /// One probe.
    One(IpVersion),
    /// Two probes, one over each version: `NAME/ipv4` and `NAME/ipv6`.
    Both,
}

impl Ip {
    /// As people write them.
    pub const WORDS: &[&str] = &["any", "4", "6", "both"];

    /// One of [`WORDS`](Self::WORDS). Whoever calls has refused other words: they are taken for the first.
    pub fn from_word(word: &str) -> Self {
        match word {
            "4" => Self::One(IpVersion::V4),
            "6" => Self::One(IpVersion::V6),
            "both" => Self::Both,
            _ => Self::One(IpVersion::Any),
        }
    }

    /// The probes that it makes: what is added to the name of each, and its version. No configured name has a
    /// slash, so nothing else can be called so.
    pub fn probes(self) -> Vec<(&'static str, IpVersion)> {
        match self {
            Self::One(version) => vec![("", version)],
            Self::Both => vec![("/ipv4", IpVersion::V4), ("/ipv6", IpVersion::V6)],
        }
    }
}

/// Where a probe goes.
#[derive(Debug, Clone)]
pub enum Way {
    /// Along the `[[route]]` of this name, which exists.
    Route(String),
    /// Straight to an address, without forwarding layer.
    Direct {
        /// The target.
        address: HostPort,
        /// The HTTP/2 `:authority`.
        authority: String,
        /// **None**: plaintext HTTP/2 with prior knowledge.
        tls: Option<TlsPlan>,
    },
}
