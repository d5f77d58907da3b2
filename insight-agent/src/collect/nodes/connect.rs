//! Connections to the agents that are asked: opened when first needed, and anew when they broke.

use super::{Target, TargetError};
use crate::collect::tls::RouteTls;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Where a connection goes, and what it looks like on the wire.
#[derive(Debug)]
pub(super) struct Way {
    host: String,
    port: u16,
    tls: Option<RouteTls>,
    endpoint: Endpoint,
}

impl Way {
    /// Reads the target's TLS files. Blocking.
    pub(super) fn new(target: &Target, described: &str, patience: Duration) -> Result<Self, TargetError> {
        let (host, port) = (target.host.clone(), target.port);
        let tls = target.tls.as_ref().map(|plan| RouteTls::new(described, &host, plan)).transpose()?;
        let bad = |what: String| TargetError::Address { target: described.to_owned(), what };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{}", target.authority);
        let origin =
            origin.parse().map_err(|error| bad(format!("authority {:?}: {error}", target.authority)))?;
        // Only the connector below resolves and connects, so this address has no meaning.
        let endpoint = Endpoint::from_static("http://node.invalid")
            .origin(origin)
            .connect_timeout(patience)
            .user_agent(concat!("insight-agent/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| bad(error.to_string()))?;
        Ok(Self { host, port, tls, endpoint })
    }

    /// A connection that is opened by its first use.
    pub(super) fn channel(&self) -> Channel {
        let (host, port, tls) = (self.host.clone(), self.port, self.tls.clone());
        self.endpoint.connect_with_connector_lazy(service_fn(move |_| {
            let (host, tls) = (host.clone(), tls.clone());
            async move { open(&host, port, tls).await.map(TokioIo::new) }
        }))
    }
}

/// Plaintext or TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn open(host: &str, port: u16, tls: Option<RouteTls>) -> std::io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    match tls {
        None => Ok(Box::new(stream)),
        Some(tls) => {
            let connector = tokio_rustls::TlsConnector::from(tls.config());
            Ok(Box::new(connector.connect(tls.server_name.clone(), stream).await?))
        }
    }
}
