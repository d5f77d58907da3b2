//! A tunnel through an HTTP proxy: CONNECT, RFC 9110 section 9.3.6.
//!
//! Not a byte behind the proxy's answer is taken: they are the next hop's first ones.

pub mod head;

use crate::model::plan::RoutePlan;
use crate::secret::Basic;
use head::{HEAD_MOST, Head, HeadError, parse_head};
use std::io;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The file with a proxy's user and password cannot be used. What it holds is never repeated.
#[derive(Debug, thiserror::Error)]
#[error("{of}: proxy_auth_file = {path:?}: {what}: write one line with user:password into it")]
pub struct CredentialsError {
    of: String,
    path: PathBuf,
    what: String,
}

/// What is presented to a route's proxy. Blocking: one small file. **None**: nothing.
pub(super) fn credentials(route: &RoutePlan) -> Result<Option<Basic>, CredentialsError> {
    let Some(path) = route.dial.proxy.as_ref().and_then(|proxy| proxy.auth_file.as_ref()) else {
        return Ok(None);
    };
    let failed = |what: String| CredentialsError { of: route.described(), path: path.clone(), what };
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    Basic::from_text(&text).map(Some).ok_or_else(|| failed("holds no user:password".to_owned()))
}

/// No tunnel was given.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    /// It answered with something else than success.
    #[error("the proxy answered HTTP {code}{}", told(.reason))]
    Refused {
        /// The status.
        code: u16,
        /// What stands behind it; may be empty.
        reason: String,
    },
    /// It closed the connection.
    #[error("the proxy closed the connection before its answer was complete")]
    Closed,
    /// The connection broke.
    #[error("{0}")]
    Broken(io::Error),
    /// It does not speak HTTP/1.
    #[error("what the proxy answered is no HTTP/1 response ({0})")]
    Garbage(HeadError),
    /// Its answer's head does not end.
    #[error("the head of the proxy's answer is longer than {} KiB", HEAD_MOST / 1024)]
    TooLong,
}

fn told(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" {reason:?}") }
}

/// Asks for a tunnel to `target` (`host:port`) and waits for the answer without bound: the caller sets the
/// deadline. Cancelling leaves the connection at an unknown place: close it.
pub(super) async fn open(
    stream: &mut TcpStream,
    target: &str,
    credentials: Option<&Basic>,
) -> Result<(), TunnelError> {
    stream.write_all(request(target, credentials).as_bytes()).await.map_err(TunnelError::Broken)?;
    loop {
        let Head { code, reason, .. } = answer(stream).await?;
        match code {
            // Interim: the answer is still to come.
            100..=199 => {}
            200..=299 => return Ok(()),
            _ => return Err(TunnelError::Refused { code, reason }),
        }
    }
}

fn request(target: &str, credentials: Option<&Basic>) -> String {
    let presented =
        credentials.map(|basic| format!("Proxy-Authorization: {}\r\n", basic.header())).unwrap_or_default();
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{presented}\r\n")
}

/// The head of the next answer, taken off the stream to its last byte and no further.
async fn answer(stream: &mut TcpStream) -> Result<Head, TunnelError> {
    let mut taken = Vec::new();
    loop {
        let mut more = [0; 1024];
        let length = stream.peek(&mut more).await.map_err(TunnelError::Broken)?;
        if length == 0 {
            return Err(TunnelError::Closed);
        }
        let before = taken.len();
        taken.extend_from_slice(&more[..length]);
        let head = match parse_head(&taken) {
            Err(HeadError::TooLong) => return Err(TunnelError::TooLong),
            Err(error) => return Err(TunnelError::Garbage(error)),
            Ok(head) => head,
        };
        let belongs = head.as_ref().map_or(length, |head| head.length - before);
        // They are there: they have just been seen.
        stream.read_exact(&mut more[..belongs]).await.map_err(TunnelError::Broken)?;
        if let Some(head) = head {
            return Ok(head);
        }
    }
}

#[cfg(test)]
#[path = "proxy/tests.rs"]
mod tests;
