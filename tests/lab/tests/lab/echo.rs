//! Upstreams for these tests: a TCP echo, and an HTTP/2 server whose answers show what arrived.

use bytes::Bytes;
use insight_lab::Topology;
use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener as Claim};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Addresses of one test's own, as long as the claim is kept.
pub fn addresses() -> (Topology, Claim) {
    Topology::claim().unwrap()
}

/// Waits until something accepts connections at `address`.
pub async fn accepting(address: SocketAddr) {
    let connect = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), connect).await.expect("something listens within 10 s");
}

/// Sends every byte back, on every connection.
pub async fn tcp(address: SocketAddr) {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
}

/// What the HTTP/2 echo has seen.
#[derive(Default)]
pub struct Seen {
    pub connections: AtomicU64,
    pub requests: AtomicU64,
    /// Streams that were reset by the other side.
    pub resets: AtomicU64,
}

/// An HTTP/2 server that streams each request's body back, repeats its `x-echo` metadata as a
/// trailer, and with `x-hang` never answers. Dropping the handle closes all of it.
pub struct H2Echo {
    pub seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Drop for H2Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl H2Echo {
    /// `goaway_after`: how many requests a connection serves before it says GOAWAY.
    pub async fn start(address: SocketAddr, goaway_after: Option<u64>) -> H2Echo {
        let listener = TcpListener::bind(address).await.unwrap();
        let seen = Arc::new(Seen::default());
        let counters = seen.clone();
        let task = tokio::spawn(async move {
            // Owned by this task: aborting it aborts every connection.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counters.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(connection(stream, counters.clone(), goaway_after));
            }
        });
        H2Echo { seen, task }
    }
}

async fn connection(stream: TcpStream, seen: Arc<Seen>, goaway_after: Option<u64>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut served = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        served += 1;
        tokio::spawn(answer(request, respond, seen.clone()));
        if Some(served) == goaway_after {
            connection.graceful_shutdown();
        }
    }
}

async fn answer(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    seen: Arc<Seen>,
) {
    seen.requests.fetch_add(1, Ordering::SeqCst);
    let (head, mut body) = request.into_parts();
    if head.headers.contains_key("x-hang") {
        let _ = poll_fn(|cx| respond.poll_reset(cx)).await;
        seen.resets.fetch_add(1, Ordering::SeqCst);
        return;
    }
    let response = http::Response::builder()
        .header("content-type", "application/grpc")
        .header("x-insight-hop", "inner-1;d=2;u=1")
        .header("x-insight-hop", "inner-2;d=3;u=2.5")
        .body(())
        .unwrap();
    let Ok(mut send) = respond.send_response(response, false) else { return };
    while let Some(Ok(mut chunk)) = body.data().await {
        let length = chunk.len();
        while !chunk.is_empty() {
            send.reserve_capacity(chunk.len());
            let Some(Ok(granted)) = poll_fn(|cx| send.poll_capacity(cx)).await else { return };
            let part = chunk.split_to(granted.min(chunk.len()));
            send.send_data(part, false).unwrap();
        }
        body.flow_control().release_capacity(length).unwrap();
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    if let Some(echo) = head.headers.get("x-echo") {
        trailers.insert("x-echo", echo.clone());
    }
    let _ = send.send_trailers(trailers);
}
