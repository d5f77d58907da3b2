//! Who is named when a probe fails: from errors and answers to a class, a gRPC status and a text.

use super::http2::{self, Break, Ended, ErrorCode};
use super::message::BadReply;
use super::proxy::TunnelError;
use crate::model::dial::ProxyPlan;
use crate::model::outcome::{Failure, FailureClass, FailurePhase as Phase, GrpcStatus};
use crate::model::plan::ProbePlan;
use http::{HeaderMap, StatusCode};
use std::io;

/// Longest part of a peer's text that is kept: it goes to logs and to the status page.
const MAX_TEXT: usize = 200;

fn failure(status: GrpcStatus, class: FailureClass, phase: Phase, detail: String) -> Failure {
    Failure { status, class, phase, detail }
}

/// `route "x" (host:port)`: where an attempt went.
pub(super) fn place(plan: &ProbePlan) -> String {
    let (name, address) = (&plan.route.name, plan.route.address());
    if *name == address { address } else { format!("route {name:?} ({address})") }
}

/// Where the TCP connection goes: to the proxy of a route that has one.
fn near_end(plan: &ProbePlan) -> String {
    match &plan.route.dial.proxy {
        Some(proxy) => format!("the proxy {} of {}", proxy.url(), place(plan)),
        None => place(plan),
    }
}

/// The name of the next hop, or of the proxy, did not resolve.
pub(super) fn dns(plan: &ProbePlan, error: &dyn std::fmt::Display) -> Failure {
    let host = plan.route.dial.proxy.as_ref().map_or(&plan.route.host, |proxy| &proxy.host);
    failure(
        GrpcStatus::Unavailable,
        FailureClass::Dns,
        Phase::Dns,
        format!(
            "look up {:?} for {}: {error}: check the name and this host's resolver",
            host,
            near_end(plan)
        ),
    )
}

/// The TCP handshake failed.
pub(super) fn connect(plan: &ProbePlan, error: &io::Error) -> Failure {
    use io::ErrorKind as Kind;
    let (class, advice) = match error.kind() {
        Kind::ConnectionRefused => (
            FailureClass::Refused,
            "nothing listens there: check the address and that the next hop's process runs",
        ),
        Kind::TimedOut => (FailureClass::ConnectTimeout, UNANSWERED),
        Kind::HostUnreachable | Kind::NetworkUnreachable => {
            (FailureClass::Unreachable, "check the address and this host's routes")
        }
        _ => (
            FailureClass::Local,
            "this host could not even try: check its limit on open files, its ports and its firewall",
        ),
    };
    let detail = format!("connect to {}: {error}: {advice}", near_end(plan));
    failure(GrpcStatus::Unavailable, class, Phase::Connect, detail)
}

/// A UNIX socket could not be connected to.
pub(super) fn connect_unix(plan: &ProbePlan, error: &io::Error) -> Failure {
    use io::ErrorKind as Kind;
    let (class, advice) = match error.kind() {
        Kind::ConnectionRefused => {
            (FailureClass::Refused, "nobody listens there any more: check that the next hop's process runs")
        }
        Kind::NotFound => (
            FailureClass::Refused,
            "there is no such socket: check the path and that the next hop's process runs",
        ),
        // Where a TCP handshake would go unanswered, the kernel says at once that there is no room.
        Kind::WouldBlock => (
            FailureClass::ConnectTimeout,
            "the queue of connections to accept is full: the next hop's process is stuck, or too slow",
        ),
        Kind::PermissionDenied => (
            FailureClass::Local,
            "this agent's user may not write to that socket: grant it, or add the user to the socket's group",
        ),
        _ => (FailureClass::Local, "this host could not even try: check its limit on open files"),
    };
    let detail = format!("connect to {}: {error}: {advice}", place(plan));
    failure(GrpcStatus::Unavailable, class, Phase::Connect, detail)
}

/// The proxy gave no tunnel.
pub(super) fn tunnel(plan: &ProbePlan, proxy: &ProxyPlan, error: &TunnelError) -> Failure {
    let (status, class, advice) = match error {
        // To a wrong password tinyproxy says 401, as if it were the next hop.
        TunnelError::Refused { code: 401 | 407, .. } if proxy.auth_file.is_some() => {
            (GrpcStatus::Unavailable, FailureClass::Proxy, "check the user and password in proxy_auth_file")
        }
        TunnelError::Refused { code: 401 | 407, .. } => {
            (GrpcStatus::Unavailable, FailureClass::Proxy, "it asks for a password: set proxy_auth_file")
        }
        TunnelError::Refused { code: 403 | 405, .. } => {
            (GrpcStatus::Unavailable, FailureClass::Proxy, "its rules forbid this host or port: see its log")
        }
        TunnelError::Refused { .. } => {
            (GrpcStatus::Unavailable, FailureClass::Proxy, "it did not reach the next hop: see its log")
        }
        TunnelError::Closed | TunnelError::Broken(_) => {
            (GrpcStatus::Unavailable, FailureClass::Proxy, "see the proxy's log")
        }
        TunnelError::Garbage(_) | TunnelError::TooLong => {
            (GrpcStatus::Internal, FailureClass::Protocol, "check that an HTTP proxy listens there")
        }
    };
    let detail = format!("open a tunnel with {}: {error}: {advice}", near_end(plan));
    failure(status, class, Phase::Tunnel, detail)
}

const UNANSWERED: &str =
    "SYN is unanswered: the host or the link is down, or a firewall drops packets silently";

/// A phase of opening the connection did not end before the deadline.
pub(super) fn setup_deadline(plan: &ProbePlan, phase: SetupPhase) -> Failure {
    let (class, advice) = match phase {
        SetupPhase::Dns => (FailureClass::Dns, "the resolver does not answer: check it"),
        SetupPhase::Connect => (FailureClass::ConnectTimeout, UNANSWERED),
        SetupPhase::Tunnel => (
            FailureClass::Proxy,
            "the proxy took the CONNECT and says nothing: see its log, and whether it reaches the next hop",
        ),
        SetupPhase::Tls => (FailureClass::Tls, "check that the next hop speaks TLS on this port"),
        SetupPhase::Http2 => (FailureClass::NoSettings, NO_SETTINGS),
    };
    let place = match phase {
        SetupPhase::Dns | SetupPhase::Connect | SetupPhase::Tunnel => near_end(plan),
        SetupPhase::Tls | SetupPhase::Http2 => place(plan),
    };
    failure(
        GrpcStatus::DeadlineExceeded,
        class,
        phase.into(),
        format!("{} {place}: no answer within {:?}: {advice}", phase.verb(), plan.deadline),
    )
}

const NO_SETTINGS: &str = "the connection was accepted but no HTTP/2 SETTINGS came: the next hop's process is stuck, \
     or it does not speak HTTP/2 here (plaintext against a TLS port?)";

/// The steps of opening a connection that can hang.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetupPhase {
    Dns,
    Connect,
    Tunnel,
    Tls,
    Http2,
}

impl From<SetupPhase> for Phase {
    fn from(phase: SetupPhase) -> Self {
        match phase {
            SetupPhase::Dns => Self::Dns,
            SetupPhase::Connect => Self::Connect,
            SetupPhase::Tunnel => Self::Tunnel,
            SetupPhase::Tls => Self::Tls,
            SetupPhase::Http2 => Self::Http2,
        }
    }
}

impl SetupPhase {
    fn verb(self) -> &'static str {
        match self {
            Self::Dns => "look up the name of",
            Self::Connect => "connect to",
            Self::Tunnel => "open a tunnel with",
            Self::Tls => "open TLS with",
            Self::Http2 => "open HTTP/2 with",
        }
    }
}

/// The TLS handshake failed. TLS 1.3 servers look at a client's certificate after its handshake has
/// ended, so their alert may also come in the http2 `phase`.
pub(super) fn tls(plan: &ProbePlan, phase: SetupPhase, error: &dyn std::fmt::Display) -> Failure {
    failure(
        GrpcStatus::Unavailable,
        FailureClass::Tls,
        phase.into(),
        format!("open TLS with {}: {error}: check its certificate and the route's tls table", place(plan)),
    )
}

/// The connection ended before the server's SETTINGS.
pub(super) fn no_settings(plan: &ProbePlan, ended: Option<&Ended>) -> Failure {
    let how = match ended {
        Some(Ended::Broke(Break::Io { text, .. })) => format!("the connection broke ({text})"),
        _ => "the connection was closed".to_owned(),
    };
    failure(
        GrpcStatus::Unavailable,
        FailureClass::NoSettings,
        Phase::Http2,
        format!("open HTTP/2 with {}: {how}: {NO_SETTINGS}", place(plan)),
    )
}

/// The server's first bytes are no SETTINGS.
pub(super) fn not_http2(plan: &ProbePlan) -> Failure {
    failure(
        GrpcStatus::Internal,
        FailureClass::Protocol,
        Phase::Http2,
        format!(
            "open HTTP/2 with {}: what the next hop sent first is no valid HTTP/2: check that it speaks gRPC \
             here (plaintext against a TLS port?)",
            place(plan)
        ),
    )
}

/// The stream or its connection broke.
pub(super) fn stream(plan: &ProbePlan, phase: Phase, why: &Break) -> Failure {
    broken(format!("call {} through {}", plan.call.method(), place(plan)), phase, why)
}

/// The connection ended under a PING; `None` is a peer that just closed it.
pub(super) fn ping_lost(plan: &ProbePlan, why: Option<&Break>) -> Failure {
    match why {
        Some(why) => broken(format!("ping {}", place(plan)), Phase::Ping, why),
        None => failure(
            GrpcStatus::Unavailable,
            FailureClass::Reset,
            Phase::Ping,
            format!(
                "ping {}: the connection was closed before an answer came: see the next hop's log",
                place(plan)
            ),
        ),
    }
}

/// A PING was not answered before the deadline.
pub(super) fn ping_deadline(plan: &ProbePlan) -> Failure {
    failure(
        GrpcStatus::DeadlineExceeded,
        FailureClass::Deadline,
        Phase::Ping,
        format!(
            "ping {}: no answer within {:?}: if handshakes are answered meanwhile, the next hop's process is \
             stuck and its kernel is not",
            place(plan),
            plan.deadline
        ),
    )
}

/// `what` was broken off.
fn broken(what: String, phase: Phase, why: &Break) -> Failure {
    use FailureClass::{Goaway, Protocol, Reset};
    use GrpcStatus::{Internal, Unavailable};
    let (status, class, advice) = match why {
        Break::Refused(_) | Break::Gone(_) | Break::Exhausted => {
            let text = format!("the next hop closed the connection with {why}: see its log for the reason");
            return failure(Unavailable, Goaway, phase, format!("{what}: {text}"));
        }
        Break::Malformed(_) => {
            (Internal, Protocol, "the answer breaks the rules of HTTP/2: check what the hops make of it".to_owned())
        }
        Break::TooManyHeaders => {
            let most = http2::LIST_MOST / 1024;
            (Internal, Protocol, format!("the answer has more than {most} KiB of headers: check what the hops add to it"))
        }
        Break::Flood(_) => (
            Internal,
            Protocol,
            "what the next hop sends is a flood of frames or headers: check what it answers".to_owned(),
        ),
        Break::Protocol { .. } => (
            Internal,
            Protocol,
            "what the next hop sent is no valid HTTP/2: check that it speaks gRPC here (plaintext against a TLS \
             port?)"
                .to_owned(),
        ),
        Break::Reset(code) => (reset_status(*code), Reset, "see the next hop's log".to_owned()),
        Break::Io { .. } | Break::Closed => {
            (Unavailable, Reset, "the connection broke: see the next hop's log".to_owned())
        }
    };
    failure(status, class, phase, format!("{what}: {why}: {advice}"))
}

/// **Source**: gRPC over HTTP/2, "Errors": HTTP/2 error code → gRPC status.
fn reset_status(code: ErrorCode) -> GrpcStatus {
    match code {
        ErrorCode::REFUSED_STREAM => GrpcStatus::Unavailable,
        ErrorCode::CANCEL => GrpcStatus::Cancelled,
        ErrorCode::ENHANCE_YOUR_CALM => GrpcStatus::ResourceExhausted,
        ErrorCode::INADEQUATE_SECURITY => GrpcStatus::PermissionDenied,
        _ => GrpcStatus::Internal,
    }
}

/// Whether the server promised that it did not look at the request, so that a gRPC client would
/// send it again without telling anyone.
pub(super) fn is_unprocessed(why: &Break) -> bool {
    match why {
        Break::Reset(code) => *code == ErrorCode::REFUSED_STREAM,
        Break::Refused(code) => code.is_none(),
        Break::Exhausted => true,
        _ => false,
    }
}

/// No whole answer came until deadline and drain had passed.
pub(super) fn deadline(plan: &ProbePlan, phase: Phase, answered: bool) -> Failure {
    let heard = match phase {
        Phase::Request => {
            "and the request is not sent: the next hop opens no HTTP/2 or TCP window for it, its process may be \
             stuck"
        }
        Phase::Response => "the answer began and did not end",
        _ if answered => "its connection is alive, so the delay is behind it",
        _ => "and nothing else was heard on the connection",
    };
    failure(
        GrpcStatus::DeadlineExceeded,
        FailureClass::Deadline,
        phase,
        format!(
            "call {} through {}: no answer within {:?} and {:?} of drain; {heard}",
            plan.call.method(),
            place(plan),
            plan.deadline,
            plan.drain
        ),
    )
}

/// Reads how a response ended. `Ok` is `grpc-status: 0`.
pub(super) fn judge(
    plan: &ProbePlan,
    http_status: StatusCode,
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
) -> Result<(), Failure> {
    let what = || format!("call {} through {}", plan.call.method(), place(plan));
    let find = |name: &str| trailers.and_then(|t| t.get(name)).or_else(|| headers.get(name));
    let Some(code) = find("grpc-status") else {
        let who = written_by(headers);
        if http_status != StatusCode::OK {
            let (class, advice) = if http_status == StatusCode::NOT_FOUND {
                (FailureClass::Misrouted, "no hop knows this route: check authority, metadata and method")
            } else if http_status.is_client_error() {
                (
                    FailureClass::Proxy,
                    "a proxy refused the request: see its log, and whether it wants a client certificate",
                )
            } else {
                (FailureClass::Proxy, "a proxy answered for its upstream: see its log")
            };
            let detail = format!("{}: HTTP {http_status} without grpc-status{who}: {advice}", what());
            return Err(failure(GrpcStatus::from_http(http_status.as_u16()), class, Phase::Response, detail));
        }
        let detail =
            format!("{}: the answer has no grpc-status{who}: check that the target speaks gRPC", what());
        return Err(failure(GrpcStatus::Unknown, FailureClass::Protocol, Phase::Response, detail));
    };
    let code = code.to_str().ok().and_then(|text| text.parse::<u32>().ok());
    let status = code.map_or(GrpcStatus::Unknown, GrpcStatus::from_code);
    let message = find("grpc-message").map(|value| percent_decoded(value.as_bytes())).unwrap_or_default();
    let (class, advice) = match status {
        GrpcStatus::Ok => return Ok(()),
        GrpcStatus::Unimplemented => {
            (FailureClass::Misrouted, "wrong method or route: check method, authority and metadata")
        }
        _ => (FailureClass::Status, "answered in trailers: see the service, or the gRPC-aware proxy"),
    };
    let detail = format!("{}: {}: {message:?}{}: {advice}", what(), status.as_str(), written_by(headers));
    Err(failure(status, class, Phase::Response, detail))
}

/// Who wrote a response, as far as it says so.
fn written_by(headers: &HeaderMap) -> String {
    let mut text = String::new();
    for name in ["server", "via"] {
        if let Some(value) = headers.get(name) {
            text.push_str(&format!(", {name}: {:?}", shortened(&String::from_utf8_lossy(value.as_bytes()))));
        }
    }
    text
}

/// A good status with a bad message.
pub(super) fn bad_reply(plan: &ProbePlan, bad: &BadReply) -> Failure {
    let what = format!("call {} through {}", plan.call.method(), place(plan));
    match bad {
        BadReply::NotServing(state) => failure(
            GrpcStatus::Unavailable,
            FailureClass::NotServing,
            Phase::Response,
            format!("{what}: the service says it is {state}: see its health"),
        ),
        BadReply::Unreadable(error) => failure(
            GrpcStatus::Internal,
            FailureClass::Protocol,
            Phase::Response,
            format!("{what}: the answer cannot be read: {error}: check that the target offers this method"),
        ),
        BadReply::Mismatched { sent, received } => failure(
            GrpcStatus::Internal,
            FailureClass::Protocol,
            Phase::Response,
            format!("{what}: sequence {sent} was answered as {received}: a hop mixes up or caches answers"),
        ),
    }
}

/// An answer larger than anything that was asked for.
pub(super) fn too_large(plan: &ProbePlan, bound: usize) -> Failure {
    failure(
        GrpcStatus::ResourceExhausted,
        FailureClass::Protocol,
        Phase::Response,
        format!(
            "call {} through {}: the answer is larger than {bound} bytes: ask a method with a smaller answer",
            plan.call.method(),
            place(plan)
        ),
    )
}

/// `grpc-message` is percent-encoded UTF-8; what is not stays as it is.
fn percent_decoded(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len().min(MAX_TEXT));
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| tail.get(..2)).flatten();
        let decoded = escaped
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    shortened(&String::from_utf8_lossy(&out))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
