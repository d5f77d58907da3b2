//! One connection to a registry: opened within a time, watched by the kernel, closed when dropped.

use super::{Remote, causes};
use crate::collect::tls::RouteTls;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// How long name lookup, TCP and TLS may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that vanished answers none of three keepalive probes, the first after this many seconds and the others
/// [`KEEPALIVE_EVERY`] apart: it is missed after half a minute, and not at the end of a wait of minutes.
const KEEPALIVE_AFTER: u32 = 15;
/// Seconds.
const KEEPALIVE_EVERY: u32 = 5;
const KEEPALIVE_TRIES: u32 = 3;

/// Ready for one request at a time.
#[derive(Debug)]
pub(super) struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Plaintext or TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Connection {
    /// A new one. **Errors**: what did not work, without who it was.
    pub async fn open(remote: &Remote, described: &str) -> Result<Self, String> {
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, connect(remote, described)).await;
        let stream = opened
            .map_err(|_| format!("not connected within {} s", CONNECT_TIMEOUT.as_secs()))?
            .map_err(|what| format!("connect: {what}"))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| causes(&error))?;
        // How it ends is told by the request that it carries.
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender, driver: driver.abort_handle() })
    }

    /// Whether a request may be sent.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Waits for the answer's head.
    pub async fn send(&mut self, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

async fn connect(remote: &Remote, described: &str) -> Result<Box<dyn Stream>, String> {
    let tls = match &remote.tls {
        None => None,
        Some(plan) => {
            let (of, host, plan) = (described.to_owned(), remote.host.clone(), plan.clone());
            let read = tokio::task::spawn_blocking(move || RouteTls::new(&of, &host, &plan)).await;
            Some(read.map_err(|error| error.to_string())?.map_err(|error| causes(&error))?)
        }
    };
    let stream = TcpStream::connect((remote.host.as_str(), remote.port)).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    keep_alive(&stream).map_err(|error| format!("keepalive: {error}"))?;
    match tls {
        None => Ok(Box::new(stream)),
        Some(tls) => {
            let connector = tokio_rustls::TlsConnector::from(tls.http1_config());
            let stream = connector.connect(tls.server_name, stream).await;
            Ok(Box::new(stream.map_err(|error| format!("tls: {error}"))?))
        }
    }
}

fn keep_alive(stream: &TcpStream) -> nix::Result<()> {
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_AFTER)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &KEEPALIVE_EVERY)?;
    setsockopt(stream, sockopt::TcpKeepCount, &KEEPALIVE_TRIES)
}
