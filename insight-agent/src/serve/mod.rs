//! gRPC services that others call: the Probe receiver, node reports, health and reflection.
//!
//! They share one listener and one thread of their own: the receiver's figures are durations of
//! that thread, and whatever else the agent does must not be part of them.

mod accept;
mod drill;
mod frames;
mod gate;
mod node;
mod probe;
mod service_time;
mod stamp;
mod tls;

pub use drill::Drill;
pub use node::{MAX_NODES, MAX_REGION_BYTES, NodeReports, OwnReport, RegionNodes, Reports};
pub use probe::Receiver;
pub use service_time::ServiceTimes;
pub use tls::{GrpcTls, check_tls, load_tls};

use crate::door::Door;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::v1::node_server::NodeServer;
use crate::proto::v1::probe_server::ProbeServer;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

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
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Where the cumulative runqueue wait of the calling thread is read, see
    /// [`probe::Receiver`].
    pub thread_wait: fn() -> Option<Duration>,
    /// The reports to serve; `None` serves none.
    pub reports: Option<Reports>,
    /// Who gets in.
    pub door: Arc<Door>,
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
    /// A PEM file is not what it should be.
    #[error("[grpc.tls] {key} = {path:?}: {problem}: write a PEM file of the right kind")]
    Pem {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The listener cannot be used by the gRPC thread.
    #[error("[grpc] take over the listener: check the limit on open files")]
    Listener(#[source] std::io::Error),
    /// The descriptors built into this program do not decode.
    #[error("reflection: the committed descriptors do not decode: run `cargo xtask codegen` and build again")]
    Descriptors(#[from] tonic_reflection::server::Error),
    /// The server failed.
    #[error("[grpc] the server ended: see this agent's log")]
    Transport(#[from] tonic::transport::Error),
}

/// HTTP/2 bytes beyond the payload that a message of `max_payload` needs (field tags, names).
const MESSAGE_OVERHEAD: usize = 64 * 1024;

/// Largest question for a report: it is empty, and may grow some fields.
const REPORT_QUESTION: usize = 1024;

/// Requests that one connection may have under way: what the protocol recommends as the least (RFC 9113,
/// section 6.5.2), and ten times what a sender has.
const MAX_STREAMS: u32 = 100;

/// Header bytes that HTTP/2 itself takes: room to refuse a head above [`gate::MAX_HEAD`] with a status that
/// says so.
const MAX_HEADER_LIST: u32 = 4 * gate::MAX_HEAD as u32;

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
        .http2_max_header_list_size(MAX_HEADER_LIST)
        .layer(gate::GateLayer::new(options.max_delay))
        .layer(stamp::StampLayer);
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
    let incoming = ReceiverStream::new(accept::accept(
        listener,
        Arc::clone(&options.door),
        options.tls.clone().map(TlsAcceptor::from),
    ));
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

#[cfg(test)]
mod report_tests;
#[cfg(test)]
mod tests;
