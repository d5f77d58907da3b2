//! How a probe ended: gRPC status, and who said so.

use serde::{Deserialize, Serialize};

/// The gRPC status codes. **Source**: gRPC core documentation, `statuscodes.md`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are the specification's own")]
pub enum GrpcStatus {
    #[default]
    Ok,
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl GrpcStatus {
    /// Every status, ordered by code.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The names, ordered by code: the closed set of a `status` label.
    pub const NAMES: [&'static str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];

    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The status of a numeric code; a code outside the specification reads as [`Self::Unknown`],
    /// as the specification asks.
    pub fn from_code(code: u32) -> Self {
        usize::try_from(code).ok().and_then(|i| Self::ALL.get(i).copied()).unwrap_or(Self::Unknown)
    }

    /// The status of a response that carries no `grpc-status`, by its HTTP status.
    ///
    /// **Source**: gRPC core documentation, `http-grpc-status-mapping.md`.
    pub fn from_http(http_status: u16) -> Self {
        match http_status {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }
}

/// Who or what made a probe fail: the failure table's rows, as a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The next hop's name did not resolve.
    Dns,
    /// The next hop's host answered SYN with RST: nothing listens there.
    Refused,
    /// The network said that the next hop cannot be reached (ICMP, no route).
    Unreachable,
    /// SYN was never answered: link or host down, or a silent firewall.
    ConnectTimeout,
    /// The TLS handshake failed: alert, expired certificate, wrong name.
    Tls,
    /// The connection was accepted but no SETTINGS came: the hop's process is stuck, or it does
    /// not speak HTTP/2.
    NoSettings,
    /// The next hop closed the connection with GOAWAY.
    Goaway,
    /// The stream was reset (RST_STREAM), or the connection broke under it.
    Reset,
    /// A proxy answered for its upstream: an HTTP error without `grpc-status`. Also one that was asked for a
    /// tunnel and gave none.
    Proxy,
    /// The service, or a gRPC-aware proxy, answered with this status in trailers.
    Status,
    /// The method or the route is wrong (UNIMPLEMENTED): configuration, not an outage.
    Misrouted,
    /// A health Check was answered, but with another state than SERVING.
    NotServing,
    /// The answer was not what the protocol says it must be.
    Protocol,
    /// Nothing came until the deadline and the drain time after it had passed.
    Deadline,
    /// What the method's messages look like could not be learnt, or the configured request does not fit
    /// them: configuration, or a service without reflection.
    Schema,
    /// The answer came, and is not what the probe's configuration expects of it.
    Expectation,
    /// This host could not even try: no file descriptor, no port, no memory, or its own firewall.
    Local,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 17] = [
        Self::Dns,
        Self::Refused,
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::Tls,
        Self::NoSettings,
        Self::Goaway,
        Self::Reset,
        Self::Proxy,
        Self::Status,
        Self::Misrouted,
        Self::NotServing,
        Self::Protocol,
        Self::Deadline,
        Self::Schema,
        Self::Expectation,
        Self::Local,
    ];

    /// The names, in the order of [`Self::ALL`]: the closed set of a `class` label.
    pub const NAMES: [&'static str; 17] = [
        "dns",
        "refused",
        "unreachable",
        "connect_timeout",
        "tls",
        "no_settings",
        "goaway",
        "reset",
        "proxy",
        "status",
        "misrouted",
        "not_serving",
        "protocol",
        "deadline",
        "schema",
        "expectation",
        "local",
    ];

    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Where a probe was when it failed: the phases of a sample, and the PING that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailurePhase {
    /// Name lookup.
    Dns,
    /// TCP handshake.
    Connect,
    /// CONNECT sent to a proxy, its answer not yet read.
    Tunnel,
    /// TLS handshake.
    Tls,
    /// HTTP/2 preface sent, the server's SETTINGS not yet read.
    Http2,
    /// The request is not yet wholly written, or the next hop's kernel does not take it.
    Request,
    /// The request is written, no response headers came.
    Wait,
    /// Response headers came; also every answer that is complete and not good.
    Response,
    /// A link probe's PING, or that of a health watch, is unanswered.
    Ping,
    /// The method's messages are not known yet, so there is nothing to send.
    Resolve,
}

impl FailurePhase {
    /// Every phase.
    pub const ALL: [Self; 10] = [
        Self::Dns,
        Self::Connect,
        Self::Tunnel,
        Self::Tls,
        Self::Http2,
        Self::Request,
        Self::Wait,
        Self::Response,
        Self::Ping,
        Self::Resolve,
    ];

    /// The names, in the order of [`Self::ALL`]: the closed set of a `phase` label.
    pub const NAMES: [&'static str; 10] =
        ["dns", "connect", "tunnel", "tls", "http2", "request", "wait", "response", "ping", "resolve"];

    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// A probe that got no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The gRPC status that a client of this path would have seen.
    pub status: GrpcStatus,
    /// Who is named by it.
    pub class: FailureClass,
    /// In which phase the probe ended.
    pub phase: FailurePhase,
    /// What was attempted, where, and what was found. For people and logs; never a label.
    pub detail: String,
}

impl Failure {
    /// Whether a prober that stood still could have made it by itself: its own timer ended it, or the
    /// connection was lost, as peers close connections on which they hear nothing.
    ///
    /// What was answered (refused, a certificate, a status) was answered all the same.
    pub fn may_be_a_stall(&self) -> bool {
        use FailureClass::{ConnectTimeout, Deadline, Dns, Goaway, NoSettings, Proxy, Reset, Tls};
        let by_timer = self.status == GrpcStatus::DeadlineExceeded;
        match self.class {
            ConnectTimeout | Deadline | Goaway | NoSettings | Reset => true,
            Dns | Tls => by_timer,
            // Later a proxy has answered.
            Proxy => by_timer && self.phase == FailurePhase::Tunnel,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_codes() {
        for (code, status) in GrpcStatus::ALL.into_iter().enumerate() {
            assert_eq!(GrpcStatus::from_code(code as u32), status);
            assert_eq!(format!("\"{}\"", status.as_str()), serde_json::to_string(&status).unwrap());
        }
        assert_eq!(GrpcStatus::from_code(17), GrpcStatus::Unknown);
        for class in FailureClass::ALL {
            assert_eq!(format!("\"{}\"", class.as_str()), serde_json::to_string(&class).unwrap());
        }
        for phase in FailurePhase::ALL {
            assert_eq!(format!("\"{}\"", phase.as_str()), serde_json::to_string(&phase).unwrap());
        }
    }
}
