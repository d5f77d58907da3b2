//! Accepting and serving connections: every wait on a client has a bound.
//!
//! Who gets in and who has to go for a newcomer is the [`Door`]'s affair, and so is how long a client may be
//! silent, shake hands or not read. Here is what HTTP/1.1 adds:
//!
//! | client | bound |
//! |---|---|
//! | sends a head in parts, or nothing more on a connection kept alive | [`Limits::first_request`](crate::door::Limits) |
//! | sends a large head | [`MAX_HEAD`], 431 |
//! | sends a body | [`MAX_BODY`], 413 |
//! | still connected at shutdown | [`DRAIN`] |

use super::refusals;
use super::web_config::Tls;
use crate::door::{Door, Place};
use crate::model::refusal::Refusal;
use axum::Router;
use axum::middleware::from_fn;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// Most bytes, but for what one read brings on top, of a request head, and of what a client sends ahead of its answers. A scraper's head has
/// some 300 bytes, one behind a proxy with its cookies a few thousand; at the cap of connections this is
/// 8 MiB.
const MAX_HEAD: usize = 32 << 10;

/// Most bytes of a request body. No request needs one; some tools send `{}` with a POST.
pub(super) const MAX_BODY: u64 = 4 << 10;

/// Time that open requests get at shutdown. A scrape takes milliseconds; half of a container's usual 10 s
/// between TERM and KILL would already delay the other parts.
pub(super) const DRAIN: Duration = Duration::from_secs(2);

/// Pause after a failed accept: out of files, the next one fails at once too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `shutdown` ends, then closes the listener and lets open requests finish
/// within `drain`. Cancelling it closes every connection at once.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<Tls>>,
    door: Arc<Door>,
    drain: Duration,
    shutdown: impl Future<Output = ()>,
) {
    let router = router.layer(from_fn(refusals::watch));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // A response goes out in few large writes; waiting to merge them only adds delay. A failure
                // means that the peer has gone, which the first read will say.
                let _ = stream.set_nodelay(true);
                if let Some(stream) = door.let_in(stream, peer.ip()) {
                    let (router, tls) = (router.clone(), tls.clone());
                    connections.spawn(serve_connection(
                        stream,
                        router,
                        tls,
                        stopped.clone(),
                        Arc::clone(&door),
                    ));
                }
                // In a flood of connections, those that are here get to ask before more come.
                yield_now().await;
                door.settled().await;
            }
            Err(error) => {
                tracing::warn!(%error, "accept a connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    stop.send_replace(true);
    let drained = timeout(drain, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::debug!(connections = connections.len(), "closing connections that do not end");
        connections.shutdown().await;
    }
}

async fn serve_connection(
    stream: crate::door::Guest<TcpStream>,
    router: Router,
    tls: Option<Arc<Tls>>,
    stopped: watch::Receiver<bool>,
    door: Arc<Door>,
) {
    let place = Arc::clone(stream.place());
    let Some(tls) = tls else {
        return serve_requests(stream, router, &door, &place, stopped).await;
    };
    let acceptor = tls.acceptor().await;
    match door.handshake(acceptor, stream).await {
        Ok(stream) => serve_requests(stream, router, &door, &place, stopped).await,
        Err(error) => tracing::debug!(%error, "TLS handshake with a client failed"),
    }
}

async fn serve_requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    door: &Door,
    place: &Arc<Place>,
    mut stopped: watch::Receiver<bool>,
) {
    let placed = Arc::clone(place);
    let service =
        TowerToHyperService::new(router.map_request(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Arc::clone(&placed));
            request
        }));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(door.limits().first_request)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { drop(stopped.wait_for(|stop| *stop).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    let Err(error) = ended else { return };
    tracing::debug!(%error, "a client's connection broke");
    if error.is_timeout() {
        place.closed_waiting();
    } else if error.is_parse_too_large() {
        place.refuse(Refusal::HeadTooLarge);
    } else if error.is_parse() {
        place.refuse(Refusal::Malformed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::Limits;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    /// Longer than anything here takes, shorter than the limits that a test does not shorten.
    const DEADLINE: Duration = Duration::from_secs(4);
    const SHORT: Duration = Duration::from_millis(200);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    /// More than the socket buffers of both ends hold.
    const LARGE: usize = 64 << 20;

    struct Server {
        addr: SocketAddr,
        door: Arc<Door>,
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    }

    impl Server {
        fn refused(&self, reason: Refusal) -> u64 {
            self.door.refused().find(|&(known, _)| known == reason).unwrap().1
        }
    }

    async fn start(limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/large", get(|| async { "x".repeat(LARGE) }));
        let shutdown = async { drop(stopped.await) };
        let door = Door::new(limits);
        let task = tokio::spawn(serve(listener, router, None, Arc::clone(&door), SHORT, shutdown));
        Server { addr, door, stop, task }
    }

    async fn connect(server: &Server) -> TcpStream {
        TcpStream::connect(server.addr).await.unwrap()
    }

    /// Waits until the other side has closed the connection; gives what it said.
    async fn closed(stream: &mut TcpStream) -> String {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("still open");
        String::from_utf8_lossy(&rest).into_owned()
    }

    async fn answered(stream: &mut TcpStream) -> bool {
        stream.write_all(REQUEST).await.unwrap();
        let mut start = [0; 12];
        let read = timeout(DEADLINE, stream.read_exact(&mut start)).await;
        matches!(read, Ok(Ok(_))) && &start == b"HTTP/1.1 200"
    }

    #[tokio::test]
    async fn silent_and_halting_clients_are_closed_and_counted() {
        let server = start(Limits { first_request: SHORT, ..Limits::new(8, 8) }).await;
        let (mut silent, mut halting, mut idle) =
            (connect(&server).await, connect(&server).await, connect(&server).await);
        halting.write_all(&REQUEST[..20]).await.unwrap();
        assert!(answered(&mut idle).await);
        for stream in [&mut silent, &mut halting, &mut idle] {
            closed(stream).await;
        }
        assert_eq!(server.refused(Refusal::NoRequest), 2, "who was answered and went idle is no refusal");
    }

    #[tokio::test]
    async fn second_head_that_does_not_end_is_counted() {
        let server = start(Limits { first_request: SHORT, ..Limits::new(8, 8) }).await;
        let mut halting = connect(&server).await;
        assert!(answered(&mut halting).await);
        halting.write_all(&REQUEST[..20]).await.unwrap();
        closed(&mut halting).await;
        assert_eq!(server.refused(Refusal::NoRequest), 1);
    }

    #[tokio::test]
    async fn silent_crowd_does_not_keep_a_client_out() {
        let server = start(Limits::new(4, 4)).await;
        let mut crowd = Vec::new();
        for _ in 0..9 {
            crowd.push(connect(&server).await);
        }
        assert!(answered(&mut connect(&server).await).await);
        closed(&mut crowd[0]).await;
        assert!(server.door.open() <= 4);
        assert_eq!(server.refused(Refusal::PeerShare), 6);
    }

    #[tokio::test]
    async fn large_heads_bodies_and_nonsense_are_refused_by_name() {
        let server = start(Limits::new(8, 8)).await;
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(4 * MAX_HEAD));
        let body = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 1u64 << 40);
        let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (sent, status, reason, count) in [
            (head.as_str(), "431", Refusal::HeadTooLarge, 1),
            (&body, "413", Refusal::BodyTooLarge, 1),
            (chunked, "413", Refusal::BodyTooLarge, 2),
            ("\u{16}\u{3}\u{1}nonsense\r\n\r\n", "400", Refusal::Malformed, 1),
        ] {
            let mut stream = connect(&server).await;
            // The answer may come before all is sent.
            let _ = stream.write_all(sent.as_bytes()).await;
            let mut said = [0; 12];
            let read = timeout(DEADLINE, stream.read_exact(&mut said)).await;
            assert!(read.is_ok(), "{reason:?}: no answer");
            let said = String::from_utf8_lossy(&said);
            assert!(said == format!("HTTP/1.1 {status}"), "{said}");
            assert_eq!(server.refused(reason), count, "{reason:?}");
        }
    }

    #[tokio::test]
    async fn client_that_reads_nothing_gives_its_place_back() {
        let server = start(Limits { write: SHORT, ..Limits::new(1, 1) }).await;
        let mut stuck = connect(&server).await;
        stuck.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        stuck.readable().await.unwrap();
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while server.refused(Refusal::SlowReader) == 0 {
            assert!(tokio::time::Instant::now() < deadline, "still waits for its reader");
            sleep(Duration::from_millis(10)).await;
        }
        assert!(answered(&mut connect(&server).await).await);
    }

    #[tokio::test]
    async fn shutdown_closes_idle_connections_and_does_not_wait_for_stuck_ones() {
        let server = start(Limits::new(8, 8)).await;
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
