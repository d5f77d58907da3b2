//! The rows: kinds of forwarders and of traffic.

use std::time::Duration;

/// What the origin takes for every request. With [`LINK`] it lies in the middle of a bucket of the
/// page (16.8 to 33.6 ms).
pub const THINK: Duration = Duration::from_millis(18);

/// Round trip between forwarder and origin, which the link between them adds.
pub const LINK: Duration = Duration::from_millis(6);

/// What proxies with something to compute compute between a read and a write, about; how long it
/// really is the caller sees.
pub const BURN: Duration = Duration::from_millis(8);

/// How long the work-stealing proxy holds each request without computing.
pub const HOLD: Duration = Duration::from_millis(10);

/// A kind of forwarder and traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// nginx with two workers, unary calls
    Nginx,
    /// HAProxy with two threads, unary calls
    Haproxy,
    /// The lab's forwarder on two threads that steal work, unary calls
    Rust,
    /// nginx with TLS downstream, unary calls
    Tls,
    /// HAProxy, 100 streams at once on one connection
    Streams,
    /// nginx, answers that take seconds
    Streaming,
    /// HAProxy in TCP mode, splicing
    Splice,
    /// nginx, a connection for each request, upstream too
    PerRequest,
    /// nginx, requests as long as a frame of HTTP/2's housekeeping in TLS
    Small,
}

/// The program of a row, and how it is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// nginx with two workers; connections to the origin are kept.
    Nginx,
    /// The same with TLS downstream.
    NginxTls,
    /// The same without kept connections.
    NginxPerRequest,
    /// HAProxy with two threads and HTTP/2 on both sides.
    Haproxy,
    /// HAProxy as a pipe of bytes.
    HaproxyTcp,
    /// The lab's forwarder on a runtime of two threads.
    WorkStealing,
}

/// What the callers do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pattern {
    /// Connections with one request at a time, at a rate each.
    Unary {
        /// How many.
        connections: u32,
        /// Requests per second on each.
        rate: u32,
    },
    /// One connection with so many requests at once.
    Streams(u32),
    /// A connection for each request, so many a second.
    PerRequest(u32),
    /// Connections on each of which an answer of many messages comes, at a rate each.
    Streaming {
        /// How many.
        connections: u32,
        /// Requests on each. **Unit**: one in so long.
        every: Duration,
        /// Messages of an answer.
        messages: u32,
        /// Bytes of a message.
        bytes: u32,
        /// Between two messages.
        interval: Duration,
    },
}

impl Row {
    /// Every row, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::Nginx,
        Self::Haproxy,
        Self::Rust,
        Self::Tls,
        Self::Streams,
        Self::Streaming,
        Self::Splice,
        Self::PerRequest,
        Self::Small,
    ];

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Nginx => "nginx, two workers",
            Self::Haproxy => "HAProxy, two threads",
            Self::Rust => "work-stealing Rust proxy",
            Self::Tls => "nginx, TLS downstream",
            Self::Streams => "HAProxy, 100 streams on one connection",
            Self::Streaming => "nginx, server streaming",
            Self::Splice => "HAProxy, TCP mode with splice",
            Self::PerRequest => "nginx, connection per request",
            Self::Small => "nginx, requests of 31 bytes",
        }
    }

    /// Its program.
    pub const fn proxy(self) -> Proxy {
        match self {
            Self::Nginx | Self::Streaming | Self::Small => Proxy::Nginx,
            Self::Haproxy | Self::Streams => Proxy::Haproxy,
            Self::Rust => Proxy::WorkStealing,
            Self::Tls => Proxy::NginxTls,
            Self::Splice => Proxy::HaproxyTcp,
            Self::PerRequest => Proxy::NginxPerRequest,
        }
    }

    /// What its callers do.
    pub const fn pattern(self) -> Pattern {
        match self {
            Self::Streams => Pattern::Streams(100),
            Self::PerRequest => Pattern::PerRequest(60),
            Self::Streaming => Pattern::Streaming {
                connections: 16,
                every: Duration::from_millis(2500),
                messages: 100,
                bytes: 200,
                interval: Duration::from_millis(20),
            },
            // As fast as the connection takes them, so that there is something to splice.
            Self::Splice => Pattern::Streaming {
                connections: 4,
                every: Duration::from_millis(500),
                messages: 24,
                bytes: 16 << 10,
                interval: Duration::ZERO,
            },
            _ => Pattern::Unary { connections: 8, rate: 8 },
        }
    }

    /// The message of a request: a field of 62 bytes, or nothing. Without, and with headers that all
    /// were sent before, a request of h2load is 31 bytes long.
    pub fn message(self) -> Vec<u8> {
        match self {
            Self::Small => vec![0; 5],
            _ => [&[0, 0, 0, 0, 64, 0x0a, 62], [0; 62].as_slice()].concat(),
        }
    }

    /// Whether its proxy computes for [`BURN`] on each request.
    pub const fn burns(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy | Self::Tls | Self::PerRequest)
    }
}
