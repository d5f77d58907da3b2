//! What to probe, how often, and along which route: the checked form of the configuration that
//! collectors work from.

use super::dial::{Dial, UNIX, UNIX_AUTHORITY};
use super::expect::Expectations;
use super::method::DescriptorSet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Any gRPC service: total latency, success, gRPC status.
    BlackBox,
    /// An Insight receiver: the same plus the receiver's own duration.
    WhiteBox,
    /// The next hop itself: round trips to its kernel and its event loop, without any RPC.
    Link,
}

impl Mode {
    /// Every mode's name: the closed set of a `mode` label.
    pub const NAMES: [&'static str; 3] = ["black-box", "white-box", "link"];

    /// The name used in labels, configuration and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Which connection a probe uses. The two are separate series: a fresh connection also pays for
/// name lookup, handshakes and accept queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// One long-lived connection per probe, or a few that its samples go round over.
    Reused,
    /// A new connection for every sample.
    Fresh,
}

impl Connection {
    /// Both names: the closed set of a `connection` label.
    pub const NAMES: [&'static str; 2] = ["reused", "fresh"];

    /// The name used in labels, configuration and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// One probe: its name, what it asks, and how often.
///
/// Two plans are equal if they measure the same in the same way.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbePlan {
    /// The configured name, unique within the agent; the `probe` label.
    pub name: String,
    /// The region this agent stands in; the `source` label.
    pub source: String,
    /// The region it asks; the `target` label.
    pub target: String,
    /// How it asks.
    pub mode: Mode,
    /// The RPC, or the link that is measured without one.
    pub call: Call,
    /// What an answer must be to count as a good one.
    pub expect: Expectations,
    /// Where it goes and what tells the forwarding layer the way.
    pub route: RoutePlan,
    /// Time between two scheduled samples of one connection kind.
    pub interval: Duration,
    /// The part of each interval that its sample is due in, at random. Range: 0 to 1.
    pub jitter: f64,
    /// Samples of a closer look when it has become worse. 0: none is taken.
    pub burst: u32,
    /// After this a sample is late.
    pub deadline: Duration,
    /// How long after the deadline an answer is still waited for, to learn its true duration.
    pub drain: Duration,
    /// Which connections it measures; not empty. A link probe's handshakes are its fresh samples,
    /// its PINGs are its reused ones.
    pub connections: Vec<Connection>,
    /// Reused connections that its samples go round over. Range: 1 to [`SLOTS_MOST`]; a link probe has 1.
    pub slots: usize,
    /// Whether an HTTP/2 PING goes along with each sample on the reused connection; for a link
    /// probe, whether it sends PINGs at all.
    pub ping: bool,
    /// Most samples of this probe that may be under way at once; further ones are skipped and counted.
    pub max_in_flight: usize,
    /// A sample of which the prober's own runqueue wait is more than this share is voided. Range: 0 to 1.
    pub void_share: f64,
}

/// Most reused connections of one probe. A balancer's backends are told apart by as many as it has; with more
/// the samples of one connection become so few that its mean says nothing about the last minute.
pub const SLOTS_MOST: usize = 16;

/// A payload up to this many bytes, in each direction, is *small*: it fits one TCP segment on
/// any path (the IPv6 minimum MTU is 1280), so bandwidth plays no part in its latency.
pub const SMALL_PAYLOAD_BYTES: usize = 1024;

impl ProbePlan {
    /// Whether this probe's latency is the path's and not its bandwidth's.
    pub fn is_small_payload(&self) -> bool {
        match &self.call {
            Call::Measure { request_bytes, response_bytes, .. } => {
                *request_bytes <= SMALL_PAYLOAD_BYTES && *response_bytes <= SMALL_PAYLOAD_BYTES
            }
            Call::HealthCheck { .. } => true,
            Call::Unary { request, .. } => request.len() <= SMALL_PAYLOAD_BYTES,
            Call::Method(call) => call.request_json.len() <= SMALL_PAYLOAD_BYTES,
            // It is sampled when its stream has to be opened, and that is when something is wrong.
            Call::HealthWatch { .. } => false,
            Call::Link(_) => true,
        }
    }

    /// Whether a sample of `other` on this connection counts in the same series as this plan's: they have
    /// the same labels.
    pub fn shares_series(&self, other: &Self, connection: Connection) -> bool {
        self.name == other.name
            && self.source == other.source
            && self.target == other.target
            && self.mode == other.mode
            && self.connections.contains(&connection)
    }

    /// Which of several reused connections this is, as series tell them apart. **None**: there is only one.
    pub fn slot(&self, index: usize) -> Option<u8> {
        u8::try_from(index).ok().filter(|_| self.slots > 1)
    }

    /// The link that it measures. **None**: it makes an RPC.
    pub fn link(&self) -> Option<&LinkEnds> {
        match &self.call {
            Call::Link(ends) => Some(ends),
            _ => None,
        }
    }

    /// Most samples that may be under way at once on this kind of connection. A connection
    /// carries one PING at a time, so a link probe's next PING waits for none: it is skipped.
    pub fn most_in_flight(&self, connection: Connection) -> usize {
        if self.mode == Mode::Link && connection == Connection::Reused { 1 } else { self.max_in_flight }
    }
}

/// The two ends of a link, as ledgers and labels name them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkEnds {
    /// This end: a route's origin, or the agent's name.
    pub from: String,
    /// The node at the other end.
    pub to: String,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `insight.v1.Probe/Measure` of an Insight receiver (white-box).
    Measure {
        /// Length of the request payload in bytes.
        request_bytes: usize,
        /// Length of the response payload in bytes.
        response_bytes: usize,
        /// Delay the receiver is asked to add.
        delay: Duration,
    },
    /// `grpc.health.v1.Health/Check` (black-box).
    HealthCheck {
        /// The service asked about; empty asks about the server as a whole.
        service: String,
    },
    /// Any unary method (black-box).
    Unary {
        /// `/package.Service/Method`.
        method: String,
        /// The serialised request message, without the gRPC length prefix.
        request: Vec<u8>,
    },
    /// Any unary or server-streaming method whose messages are known (black-box).
    Method(MethodCall),
    /// `grpc.health.v1.Health/Watch`: one stream that stays open (black-box).
    HealthWatch {
        /// The service asked about; empty asks about the server as a whole.
        service: String,
    },
    /// Nothing: only round trips over this link are measured.
    Link(LinkEnds),
}

impl Call {
    /// The HTTP/2 `:path`; empty for a link, over which no request is made.
    pub fn method(&self) -> &str {
        match self {
            Self::Measure { .. } => "/insight.v1.Probe/Measure",
            Self::HealthCheck { .. } => "/grpc.health.v1.Health/Check",
            Self::Unary { method, .. } => method,
            Self::Method(call) => &call.method,
            Self::HealthWatch { .. } => "/grpc.health.v1.Health/Watch",
            Self::Link(_) => "",
        }
    }
}

/// A method that is asked in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct MethodCall {
    /// `/package.Service/Method`.
    pub method: String,
    /// The request message as JSON.
    pub request_json: String,
    /// Where its messages are described. **None**: the service is asked, by server reflection.
    pub descriptors: Option<Arc<DescriptorSet>>,
    /// A stream of answers is ended after this many messages, at least 1.
    pub max_messages: usize,
}

impl std::fmt::Debug for MethodCall {
    /// What it asks may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MethodCall").field(&self.method).field(&self.descriptors).finish()
    }
}

/// Messages of a stream that are read unless told otherwise.
pub const MESSAGES_UNLESS_TOLD: usize = 1000;

/// Where a probe's connection goes, and what tells the forwarding layer the way.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutePlan {
    /// The route's configured name; the target's address for a direct probe.
    pub name: String,
    /// Name or IP of the next hop, or [`UNIX`] and the path of a socket of this host.
    pub host: String,
    /// Port of the next hop; 0 of a UNIX socket.
    pub port: u16,
    /// How its connections get there.
    pub dial: Dial,
    /// The HTTP/2 `:authority`.
    pub authority: String,
    /// Metadata, templates already filled in; names are lower case.
    pub metadata: Vec<(String, String)>,
    /// TLS towards the next hop; `None` is plaintext HTTP/2 with prior knowledge.
    pub tls: Option<TlsPlan>,
    /// The name of this agent's end of the first link in a ledger.
    pub origin: String,
    /// The hops that a request passes, in path order; empty for a direct target. Only these
    /// names ever become labels.
    pub hops: Vec<String>,
    /// `Server-Timing` metric name → which hop's which figure it is.
    pub server_timing: BTreeMap<String, ServerTimingMeaning>,
    /// The hop whose Envoy writes `x-envoy-upstream-service-time`.
    pub envoy_hop: Option<String>,
    /// The hop whose Kong writes `X-Kong-*-Latency`.
    pub kong_hop: Option<String>,
    /// Which named metrics of the service's load reports are kept; at most [`LOAD_METRICS_MOST`].
    /// Only these names ever become labels.
    pub load_metrics: Vec<String>,
}

/// Most named metrics of a load report that one probe keeps.
pub const LOAD_METRICS_MOST: usize = 8;

impl RoutePlan {
    /// The route as messages name it.
    pub fn described(&self) -> String {
        format!("route {:?}", self.name)
    }

    /// The UNIX socket that is the next hop: a path, or `@` and a name of the abstract namespace.
    /// **None**: it is reached over a network.
    pub fn unix(&self) -> Option<&str> {
        self.host.strip_prefix(UNIX)
    }

    /// The name that a certificate has to carry unless the configuration names another one.
    pub fn certificate_host(&self) -> &str {
        if self.unix().is_some() { UNIX_AUTHORITY } else { &self.host }
    }

    /// The next hop as `host:port`, IPv6 in brackets, or as `unix:PATH`.
    pub fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if self.unix().is_some() {
            return host.clone();
        }
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// What a `Server-Timing` entry measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTimingMeaning {
    /// The hop it speaks of.
    pub hop: String,
    /// Whether its `dur` is the hop's downstream or upstream time.
    pub figure: TimingFigure,
}

/// Which of a hop's two times a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimingFigure {
    /// D: request's arrival → response's departure.
    Downstream,
    /// U: request's forwarding → response's arrival.
    Upstream,
}

/// TLS towards the next hop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsPlan {
    /// PEM file with the certificate authorities to trust; `None` trusts the system's.
    pub ca_file: Option<PathBuf>,
    /// The name the certificate must carry; `None` takes the route's host.
    pub server_name: Option<String>,
    /// PEM files with this client's certificate chain and private key.
    pub client_identity: Option<(PathBuf, PathBuf)>,
}

#[cfg(test)]
impl RoutePlan {
    /// Straight to an address: what tests begin with.
    pub(crate) fn example(address: std::net::SocketAddr) -> Self {
        Self {
            name: address.to_string(),
            host: address.ip().to_string(),
            port: address.port(),
            dial: Dial::default(),
            authority: address.to_string(),
            metadata: Vec::new(),
            tls: None,
            origin: "me".into(),
            hops: Vec::new(),
            server_timing: BTreeMap::new(),
            envoy_hop: None,
            kong_hop: None,
            load_metrics: Vec::new(),
        }
    }
}

#[cfg(test)]
impl ProbePlan {
    /// A health check each second over a connection to an address that is kept: what tests begin with.
    pub(crate) fn example(address: std::net::SocketAddr) -> Self {
        Self {
            name: "p".into(),
            source: "eu".into(),
            target: "sg".into(),
            mode: Mode::BlackBox,
            call: Call::HealthCheck { service: String::new() },
            expect: Expectations::default(),
            route: RoutePlan::example(address),
            interval: Duration::from_secs(1),
            jitter: 0.0,
            burst: 0,
            deadline: Duration::from_secs(1),
            drain: Duration::from_secs(1),
            connections: vec![Connection::Reused],
            slots: 1,
            ping: true,
            max_in_flight: 4,
            void_share: 0.5,
        }
    }
}
