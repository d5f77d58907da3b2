//! The thread that serves gRPC: it reports durations of its own, so nothing else runs on it.

use super::AgentError;
use crate::collect::host::schedstat::read_thread_wait;
use crate::config::{Config, ServerTls};
use crate::door::Door;
use crate::serve::{self, Drill, GrpcOptions, GrpcTls, Reports, ServeError, serve_grpc};
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The listener's certificates and keys. **None**: plaintext.
///
/// # Errors
/// A file cannot be read.
pub(super) fn load_tls(config: &Config) -> Result<Option<Arc<rustls::ServerConfig>>, ServeError> {
    config.grpc.tls.as_ref().map(|files| serve::load_tls(&tls(files))).transpose()
}

/// Starts the gRPC thread; the receiver tells how it ended.
pub(super) fn spawn(
    config: &Config,
    tls: Option<Arc<rustls::ServerConfig>>,
    reports: Option<Reports>,
    listener: TcpListener,
    door: Arc<Door>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<oneshot::Receiver<Result<(), ServeError>>, AgentError> {
    let failed = |source| AgentError::Thread { part: "the gRPC thread", source };
    let grpc = &config.grpc;
    let options = GrpcOptions {
        region: config.agent.region.clone(),
        node: config.agent.name.clone(),
        max_delay: grpc.max_delay,
        max_payload: grpc.max_payload_bytes,
        reflection: grpc.reflection,
        tls,
        thread_wait: read_thread_wait,
        reports,
        door,
    };
    let drill_file = grpc.drill_delay_file.clone();
    let listener = listener.into_std().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("grpc".into())
        .spawn(move || {
            let result = runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).map_err(ServeError::Listener)?;
                let drill = Drill::default();
                if let Some(file) = drill_file {
                    tokio::spawn(drill.clone().follow(file, options.max_delay));
                }
                serve_grpc(listener, options, drill, shutdown).await
            });
            // Nobody listens any more when the agent ended for another reason.
            let _ = end.send(result);
        })
        .map_err(failed)?;
    Ok(ended)
}

/// The listener's TLS as the server wants it.
pub(super) fn tls(tls: &ServerTls) -> GrpcTls {
    GrpcTls {
        cert_file: tls.cert_file.clone(),
        key_file: tls.key_file.clone(),
        client_ca_file: tls.client_ca_file.clone(),
    }
}
