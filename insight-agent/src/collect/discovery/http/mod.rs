//! HTTP/1.1 towards registries, plain or with TLS: GET only, every request with a deadline, every answer with a
//! most length, and never a token in a text.

mod connection;
mod lines;
mod query;

pub(super) use lines::{Lines, Next};
pub(super) use query::Target;

use crate::model::discovery::{LookupClass, LookupFailure};
use crate::model::plan::TlsPlan;
use crate::secret::Bearer;
use bytes::{Bytes, BytesMut};
use connection::Connection;
use http::header::{ACCEPT, AUTHORIZATION, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest answer, in bytes. 10,000 instances of a service with their checks are about 10 MiB; what is longer is
/// a filter that is missing.
const ANSWER_MOST: usize = 16 << 20;
/// Longest part of an answer that a failure repeats, in characters: one sentence.
const EXCERPT_CHARS: usize = 200;
/// Longest token file in bytes: service account tokens are 1 to 2 KiB.
const TOKEN_MOST: u64 = 64 << 10;
/// A peer may close a connection that nobody uses at the moment at which it is used again. What breaks within this
/// time of its request did so, and the request is made once more on another connection. Half of it would take slow
/// networks for failures; twice as much would hide that a server dies of each request.
const RACE: Duration = Duration::from_secs(1);
/// Longest pause that a peer's `retry-after` brings about.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(60);

/// Where a registry is, and how it is asked.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    /// What it is, as messages name it: `consul`.
    pub kind: &'static str,
    /// Name or IP address, IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `None` is plain HTTP. The files are read anew for each connection.
    pub tls: Option<TlsPlan>,
    /// The token's file, read anew for each request; `None` sends none.
    pub token_file: Option<PathBuf>,
}

impl Remote {
    /// `host:port`, IPv6 in brackets.
    fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The registry, as messages name it.
    fn described(&self) -> String {
        format!("{} at {}", self.kind, self.authority())
    }

    /// A failure of a request.
    pub fn failure(
        &self,
        class: LookupClass,
        target: &Target,
        what: impl std::fmt::Display,
    ) -> LookupFailure {
        let detail = format!("{}: GET {}: {what}", self.described(), target.path());
        LookupFailure { class, detail }
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why an answer is none, and when to ask again at the earliest.
#[derive(Debug)]
pub(super) struct Refusal {
    pub failure: LookupFailure,
    /// What the peer asked for.
    pub retry_after: Option<Duration>,
}

impl From<LookupFailure> for Refusal {
    fn from(failure: LookupFailure) -> Self {
        Self { failure, retry_after: None }
    }
}

/// A registry's HTTP API. Its connections end with it.
pub(super) struct Http {
    remote: Remote,
    /// Connections that no request is under way on.
    idle: Mutex<Vec<Connection>>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl Http {
    /// Connects when first used.
    pub fn new(remote: Remote) -> Self {
        Self { remote, idle: Mutex::new(Vec::new()) }
    }

    /// The registry that is asked.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// The whole answer, whatever its status. Cancelling closes the connection.
    ///
    /// # Errors
    /// No whole answer within the deadline, or one beyond [`ANSWER_MOST`].
    pub async fn get(&self, target: &Target, deadline: Duration) -> Result<Answer, LookupFailure> {
        self.answer(target, deadline, true).await
    }

    /// The same for a question that only the server makes sense of to which it was first put: it is never put again.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub async fn get_once(&self, target: &Target, deadline: Duration) -> Result<Answer, LookupFailure> {
        self.answer(target, deadline, false).await
    }

    async fn answer(
        &self,
        target: &Target,
        deadline: Duration,
        again: bool,
    ) -> Result<Answer, LookupFailure> {
        let whole = async {
            let (connection, response) = self.send(target, again).await?;
            let (head, body) = response.into_parts();
            let body = self.whole(target, body).await?;
            self.lay_aside(connection);
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(deadline, whole).await.unwrap_or_else(|_| Err(self.late(target, deadline)))
    }

    /// An answer with status 200 that has no end: its lines as they come. The deadline is for its head.
    ///
    /// # Errors
    /// The outer: no answer. The inner: the answer, which is another one than 200.
    pub async fn follow(
        &self,
        target: &Target,
        deadline: Duration,
    ) -> Result<Result<Lines, Answer>, LookupFailure> {
        let head = async {
            let (connection, response) = self.send(target, true).await?;
            let (head, body) = response.into_parts();
            if head.status == StatusCode::OK {
                return Ok(Ok(Lines::new(connection, body)));
            }
            let body = self.whole(target, body).await?;
            self.lay_aside(connection);
            Ok(Err(Answer { status: head.status, headers: head.headers, body }))
        };
        tokio::time::timeout(deadline, head).await.unwrap_or_else(|_| Err(self.late(target, deadline)))
    }

    /// What an answer other than 200 means.
    pub async fn refusal(&self, target: &Target, answer: &Answer) -> Refusal {
        let (class, advice) = match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                (LookupClass::Denied, ": check token_file and what its token may do")
            }
            _ => (LookupClass::Refused, ""),
        };
        // A server may repeat what it was sent.
        let said = excerpt(&answer.body);
        let said = match self.token().await {
            Ok(Some(token)) => token.redact(&said),
            _ => said,
        };
        let status = answer.status.as_u16();
        let what =
            if said.is_empty() { format!("{status}{advice}") } else { format!("{status}: {said}{advice}") };
        Refusal {
            failure: self.remote.failure(class, target, what),
            retry_after: retry_after(&answer.headers),
        }
    }

    /// **again**: whether what a connection that was idle does not carry may be sent once more on another one.
    async fn send(
        &self,
        target: &Target,
        again: bool,
    ) -> Result<(Connection, Response<Incoming>), LookupFailure> {
        let token =
            self.token().await.map_err(|what| self.remote.failure(LookupClass::Denied, target, what))?;
        let unreachable = |what: String| self.remote.failure(LookupClass::Unreachable, target, what);
        while let Some(mut connection) = self.idle() {
            let sent = Instant::now();
            match connection.send(self.request(target, token.as_ref())?).await {
                Ok(response) => return Ok((connection, response)),
                Err(_) if again && sent.elapsed() < RACE => {}
                Err(error) => return Err(unreachable(causes(&error))),
            }
        }
        let mut connection =
            Connection::open(&self.remote, &self.remote.described()).await.map_err(unreachable)?;
        let response = connection.send(self.request(target, token.as_ref())?).await;
        Ok((connection, response.map_err(|error| unreachable(causes(&error)))?))
    }

    fn request(
        &self,
        target: &Target,
        token: Option<&Bearer>,
    ) -> Result<Request<Empty<Bytes>>, LookupFailure> {
        let agent = concat!("insight-agent/", env!("CARGO_PKG_VERSION"));
        let mut request = Request::get(target.as_str())
            .header(HOST, self.remote.authority())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, agent);
        if let Some(mut value) = token.and_then(|token| HeaderValue::try_from(token.header()).ok()) {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request
            .body(Empty::new())
            .map_err(|error| self.remote.failure(LookupClass::Unreachable, target, error))
    }

    async fn whole(&self, target: &Target, mut body: Incoming) -> Result<Bytes, LookupFailure> {
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let what = format!("the answer broke off: {}", causes(&error));
                self.remote.failure(LookupClass::Unreachable, target, what)
            })?;
            let Some(part) = frame.data_ref() else { continue };
            if whole.len() + part.len() > ANSWER_MOST {
                let what = format!("the answer is longer than {} MiB: ask for less of it", ANSWER_MOST >> 20);
                return Err(self.remote.failure(LookupClass::TooMany, target, what));
            }
            whole.extend_from_slice(part);
        }
        Ok(whole.freeze())
    }

    fn late(&self, target: &Target, deadline: Duration) -> LookupFailure {
        let what = format!("no whole answer within {:.1} s", deadline.as_secs_f64());
        self.remote.failure(LookupClass::Timeout, target, what)
    }

    /// The token as its file has it now.
    async fn token(&self) -> Result<Option<Bearer>, String> {
        let Some(path) = self.remote.token_file.clone() else { return Ok(None) };
        let shown = path.display().to_string();
        let read = tokio::task::spawn_blocking(move || read_token(&path)).await;
        match read {
            Ok(Ok(content)) => match Bearer::from_text(&content) {
                Some(token) => Ok(Some(token)),
                None => Err(format!("token_file {shown}: holds no token, or more than one word: correct it")),
            },
            Ok(Err(error)) => {
                Err(format!("token_file {shown}: {error}: make it readable for the agent's user"))
            }
            Err(error) => Err(format!("token_file {shown}: {error}")),
        }
    }

    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Connection::is_open);
        idle.pop()
    }

    /// Keeps a connection, of which the last answer was read to its end, for the next request.
    fn lay_aside(&self, connection: Connection) {
        if connection.is_open() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

/// At most [`TOKEN_MOST`]. Blocking.
fn read_token(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(TOKEN_MOST).read_to_end(&mut content)?;
    Ok(content)
}

/// The beginning of an answer in one line.
fn excerpt(body: &[u8]) -> String {
    // A character has at most 4 bytes, so this is enough of them.
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * EXCERPT_CHARS)]).into_owned();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(EXCERPT_CHARS).collect()
}

/// The delay of a `retry-after` in seconds; a date is not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MOST))
}

/// An error and what it came of.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_becomes_one_short_line() {
        assert_eq!(excerpt(b"  no\r\n\x1b[31mcluster \x00leader\n"), "no [31mcluster leader");
        assert_eq!(excerpt(&[b'x'; 5_000]).len(), EXCERPT_CHARS);
        assert_eq!(excerpt(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn a_server_may_ask_for_a_pause_but_not_for_a_long_one() {
        let after = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            retry_after(&headers)
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("86400"), Some(RETRY_AFTER_MOST));
        assert_eq!(after("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(after("-1"), None);
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let remote = Remote { kind: "consul", host: "::1".into(), port: 8500, tls: None, token_file: None };
        assert_eq!(remote.described(), "consul at [::1]:8500");
    }
}
