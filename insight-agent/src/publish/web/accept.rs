//! Accepting and serving connections: every wait on a client has a bound.
//!
//! | client | bound |
//! |---|---|
//! | sends no request, or only part of one | [`Bounds::header`] |
//! | does not finish the TLS handshake | [`Bounds::handshake`] |
//! | does not read its response | [`Bounds::write`] |
//! | one of too many | waits in the kernel's queue ([`Bounds::connections`]) |
//! | still connected at shutdown | [`Bounds::drain`] |

use super::patience::Impatient;
use super::web_config::Tls;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long a listener waits for its clients, and for how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Time for a request's whole head, also on a connection kept alive: one that is idle for
    /// longer is closed, and a scraper with a longer interval opens a new one each time.
    header: Duration,
    /// Time for the whole TLS handshake.
    handshake: Duration,
    /// Time without any progress of a response.
    write: Duration,
    /// Time that open requests get at shutdown. A scrape takes milliseconds; half of a
    /// container's usual 10 s between TERM and KILL would already delay the other parts.
    drain: Duration,
    /// Connections served at once: two orders above a pair of scrapers and a human, and far
    /// below a process's usual limit of 1024 files.
    connections: usize,
}

/// Every listener's bounds; only tests have others.
pub(super) const BOUNDS: Bounds = Bounds {
    header: Duration::from_secs(10),
    handshake: Duration::from_secs(10),
    write: Duration::from_secs(30),
    drain: Duration::from_secs(2),
    connections: 256,
};

/// Pause after a failed accept: out of files, the next one fails at once too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `shutdown` ends, then closes the listener and lets open requests finish
/// within a bound. Cancelling it closes every connection at once.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<Tls>>,
    bounds: Bounds,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let connection =
                    serve_connection(stream, router.clone(), tls.clone(), bounds, stopped.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept a connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    stop.send_replace(true);
    let drained = timeout(bounds.drain, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::debug!(connections = connections.len(), "closing connections that do not end");
        connections.shutdown().await;
    }
}

/// A place first, then a connection: when all places are taken, nothing is accepted.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    tls: Option<Arc<Tls>>,
    bounds: Bounds,
    stopped: watch::Receiver<bool>,
) {
    // A response goes out in few large writes; waiting to merge them only adds delay. A failure
    // means that the peer has gone, which the first read will say.
    let _ = stream.set_nodelay(true);
    let stream = Impatient::new(stream, bounds.write);
    let Some(tls) = tls else {
        return serve_requests(stream, router, bounds, stopped).await;
    };
    let acceptor = tls.acceptor().await;
    match timeout(bounds.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => serve_requests(stream, router, bounds, stopped).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake with a client failed"),
        Err(_) => tracing::debug!("TLS handshake with a client took too long"),
    }
}

async fn serve_requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    bounds: Bounds,
    mut stopped: watch::Receiver<bool>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { drop(stopped.wait_for(|stop| *stop).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    /// Longer than anything here takes, shorter than the bounds that a test does not shorten.
    const DEADLINE: Duration = Duration::from_secs(8);
    const SHORT: Duration = Duration::from_millis(200);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    /// More than the socket buffers of both ends hold.
    const LARGE: usize = 64 << 20;

    struct Server {
        addr: SocketAddr,
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    }

    async fn start(bounds: Bounds) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/large", get(|| async { "x".repeat(LARGE) }));
        let shutdown = async { drop(stopped.await) };
        Server { addr, stop, task: tokio::spawn(serve(listener, router, None, bounds, shutdown)) }
    }

    async fn connect(server: &Server) -> TcpStream {
        TcpStream::connect(server.addr).await.unwrap()
    }

    /// Waits until the other side has closed the connection.
    async fn closed(stream: &mut TcpStream) {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("still open");
    }

    async fn answered(stream: &mut TcpStream) -> bool {
        stream.write_all(REQUEST).await.unwrap();
        let mut start = [0; 12];
        let read = timeout(DEADLINE, stream.read_exact(&mut start)).await;
        matches!(read, Ok(Ok(_))) && &start == b"HTTP/1.1 200"
    }

    #[tokio::test]
    async fn silent_and_halting_clients_are_closed() {
        let server = start(Bounds { header: SHORT, ..BOUNDS }).await;
        let (mut silent, mut halting, mut idle) =
            (connect(&server).await, connect(&server).await, connect(&server).await);
        halting.write_all(&REQUEST[..20]).await.unwrap();
        assert!(answered(&mut idle).await);
        for stream in [&mut silent, &mut halting, &mut idle] {
            closed(stream).await;
        }
    }

    #[tokio::test]
    async fn client_beyond_the_cap_is_served_when_a_place_is_free() {
        let server = start(Bounds { connections: 1, ..BOUNDS }).await;
        let mut first = connect(&server).await;
        assert!(answered(&mut first).await);
        let mut second = connect(&server).await;
        second.write_all(REQUEST).await.unwrap();
        let mut byte = [0];
        assert!(timeout(SHORT, second.read_exact(&mut byte)).await.is_err(), "served beyond the cap");
        drop(first);
        timeout(DEADLINE, second.read_exact(&mut byte)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn client_that_reads_nothing_gives_its_place_back() {
        let server = start(Bounds { connections: 1, write: SHORT, ..BOUNDS }).await;
        let mut stuck = connect(&server).await;
        stuck.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(answered(&mut connect(&server).await).await);
    }

    #[tokio::test]
    async fn shutdown_closes_idle_connections_and_does_not_wait_for_stuck_ones() {
        let server = start(Bounds { drain: SHORT, ..BOUNDS }).await;
        let (mut idle, mut stuck) = (connect(&server).await, connect(&server).await);
        assert!(answered(&mut idle).await);
        stuck.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        stuck.readable().await.unwrap();
        server.stop.send(()).unwrap();
        timeout(DEADLINE, server.task).await.expect("shutdown hangs").unwrap();
        closed(&mut idle).await;
        assert!(TcpStream::connect(server.addr).await.is_err(), "the listener is closed");
    }
}
