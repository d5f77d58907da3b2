//! gRPC services that others call: the Probe receiver, node reports, health and reflection.
//!
//! They share one listener and one thread of their own: the receiver's figures are durations of
//! that thread, and whatever else the agent does must not be part of them.

mod accept;
mod drill;
mod node;
mod probe;
mod service_time;
mod stamp;

pub use drill::Drill;
pub use node::{MAX_NODES, MAX_REGION_BYTES, NodeReports, OwnReport, RegionNodes, Reports};
pub use probe::Receiver;
pub use service_time::ServiceTimes;

use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::v1::node_server::NodeServer;
use crate::proto::v1::probe_server::ProbeServer;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

/// What the gRPC listener offers and allows.
#[derive(Debug, Clone)]
pub struct GrpcOptions {
    /// This agent's region, told in every reply.
    pub region: String,
    /// This agent's name, told in every reply.
    pub node: String,
    /// Longest delay a sender may ask for.
    pub max_delay: Duration,
    /// Largest request and response payload, in bytes.
    pub max_payload: usize,
    /// Whether the services can be listed through gRPC reflection (v1 and v1alpha).
    pub reflection: bool,
    /// TLS on the listener; `None` is plaintext HTTP/2.
    pub tls: Option<ServerTlsConfig>,
    /// Where the cumulative runqueue wait of the calling thread is read, see
    /// [`probe::Receiver`].
    pub thread_wait: fn() -> Option<Duration>,
    /// The reports to serve; `None` serves none.
    pub reports: Option<Reports>,
}

/// PEM files of the gRPC listener's TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcTls {
    /// Certificate chain of this receiver.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// Authorities that a caller's certificate must come from; `None` asks for none.
    pub client_ca_file: Option<PathBuf>,
}

/// Why the gRPC listener could not be started, or stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A PEM file could not be read.
    #[error("[grpc.tls] {key} = {path:?}: cannot be read: check the path and its permissions")]
    ReadPem {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The listener cannot be used by the gRPC thread.
    #[error("[grpc] take over the listener: check the limit on open files")]
    Listener(#[source] std::io::Error),
    /// The descriptors built into this program do not decode.
    #[error("reflection: the committed descriptors do not decode: run `cargo xtask codegen` and build again")]
    Descriptors(#[from] tonic_reflection::server::Error),
    /// The server failed.
    #[error("[grpc] the server ended: check the certificate and key, if TLS is on")]
    Transport(#[from] tonic::transport::Error),
}

/// HTTP/2 bytes beyond the payload that a message of `max_payload` needs (field tags, names).
const MESSAGE_OVERHEAD: usize = 64 * 1024;

/// Largest question for a report: it is empty, and may grow some fields.
const REPORT_QUESTION: usize = 1024;

/// Requests that one connection may have under way.
const MAX_STREAMS: u32 = 256;

/// A connection whose peer is gone is noticed after this much silence, and closed after as much more.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How long requests under way may take at a stop: longer than a probe that is not delayed on purpose,
/// and far below the patience of any process supervisor.
const GRACE: Duration = Duration::from_secs(2);

/// Serves until `shutdown` completes; streams under way then have two seconds to finish.
///
/// Cancelling (dropping the future) closes every connection at once.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve_grpc(
    listener: TcpListener,
    options: GrpcOptions,
    drill: Drill,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let limit = options.max_payload.saturating_add(MESSAGE_OVERHEAD);
    let probe = ProbeServer::new(Receiver::new(options.clone(), drill))
        .max_decoding_message_size(limit)
        .max_encoding_message_size(limit);
    health.set_serving::<ProbeServer<Receiver>>().await;

    let node = options.reports.clone().map(|reports| {
        NodeServer::new(NodeReports::new(options.region.clone(), reports))
            .max_decoding_message_size(REPORT_QUESTION)
            .max_encoding_message_size(MAX_REGION_BYTES)
    });
    if node.is_some() {
        health.set_serving::<NodeServer<NodeReports>>().await;
    }

    let mut server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .layer(stamp::StampLayer);
    if let Some(tls) = &options.tls {
        server = server.tls_config(tls.clone())?;
    }
    let mut router = server.add_service(probe).add_optional_service(node).add_service(health_service);
    if options.reflection {
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        // grpcurl before 1.9 asks for v1alpha only, newer callers for v1.
        router = router.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?);
    }
    let incoming = ReceiverStream::new(accept::accept(listener));
    let (tell, told) = oneshot::channel();
    let serving = router.serve_with_incoming_shutdown(incoming, async {
        // The sender is dropped only after it has told.
        let _ = told.await;
    });
    let ending = async {
        shutdown.await;
        let _ = tell.send(());
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = serving => result?,
        () = ending => {}
    }
    Ok(())
}

/// Whether a listener could be started with this TLS. Blocking: reads its files.
///
/// # Errors
/// As [`serve_grpc`] would give.
pub fn check_tls(tls: &GrpcTls) -> Result<(), ServeError> {
    Server::builder().tls_config(load_tls(tls)?)?;
    Ok(())
}

/// Reads what the listener's TLS is made of. Blocking.
///
/// # Errors
/// A file cannot be read; whether it is PEM, [`serve_grpc`] finds out.
pub fn load_tls(tls: &GrpcTls) -> Result<ServerTlsConfig, ServeError> {
    let read = |key, path: &PathBuf| {
        std::fs::read(path).map_err(|source| ServeError::ReadPem { key, path: path.clone(), source })
    };
    let identity = Identity::from_pem(read("cert_file", &tls.cert_file)?, read("key_file", &tls.key_file)?);
    let mut config = ServerTlsConfig::new().identity(identity);
    if let Some(path) = &tls.client_ca_file {
        config = config.client_ca_root(Certificate::from_pem(read("client_ca_file", path)?));
    }
    Ok(config)
}

#[cfg(test)]
mod report_tests;
#[cfg(test)]
mod tests;
