//! A gRPC server that does what its script says, on h2 frames of its own.

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// `grpc.health.v1.HealthCheckResponse { status: SERVING }`.
const SERVING: [u8; 2] = [0x08, 0x01];
/// The largest message length that is read; probes of tests send less.
const FRAME_HEADER: usize = 5;

/// What a caller sent.
#[derive(Debug, Clone)]
pub struct Call {
    /// Counted from 0, over all connections.
    pub number: u64,
    /// `:authority`; empty without one.
    pub authority: String,
    /// `:path`, the method.
    pub path: String,
    /// All other headers.
    pub headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// The message, without its gRPC frame. **None**: the frame is not whole.
    pub fn message(&self) -> Option<Bytes> {
        (self.body.len() >= FRAME_HEADER).then(|| self.body.slice(FRAME_HEADER..))
    }
}

/// What becomes of a call.
#[derive(Debug, Clone)]
pub enum Deed {
    /// It is answered.
    Reply(Box<Reply>),
    /// Its stream is reset.
    Reset(Reason),
    /// Half an answer, then the connection is closed.
    CloseMidway,
    /// No answer: the connection ends with a GOAWAY that gives this reason.
    GoAway(Reason),
    /// Nothing at all; the stream stays open.
    Hang,
}

/// An answer. Without trailers it ends with its headers (or its body), as a proxy's error does.
#[derive(Debug, Clone)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Option<Bytes>,
    trailers: Option<HeaderMap>,
    delay: Duration,
}

impl Reply {
    /// `grpc-status: 0` with this message.
    pub fn of(message: &[u8]) -> Self {
        let mut frame = BytesMut::with_capacity(FRAME_HEADER + message.len());
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).unwrap_or_else(|_| panic!("a message of 4 GiB")));
        frame.put_slice(message);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let body = Some(frame.freeze());
        Self { trailers: Some(trailers), body, ..Self::http(200) }.header("content-type", b"application/grpc")
    }

    /// The health check's good answer.
    pub fn serving() -> Self {
        Self::of(&SERVING)
    }

    /// An HTTP status alone: what proxies answer for their upstream.
    pub fn http(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or_else(|_| panic!("HTTP status {status}"));
        Self { status, headers: HeaderMap::new(), body: None, trailers: None, delay: Duration::ZERO }
    }

    /// A gRPC status in headers only ("Trailers-Only").
    pub fn grpc_status(code: u32, message: &str) -> Self {
        Self::http(200)
            .header("content-type", b"application/grpc")
            .header("grpc-status", code.to_string().as_bytes())
            .header("grpc-message", message.as_bytes())
    }

    /// Appends a header; any bytes that HTTP/2 can carry.
    pub fn header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.append(header_name(name), header_value(value));
        self
    }

    /// Appends a trailer; without a message there are none.
    pub fn trailer(mut self, name: &str, value: &[u8]) -> Self {
        if let Some(trailers) = &mut self.trailers {
            trailers.append(header_name(name), header_value(value));
        }
        self
    }

    /// Sent only after this time.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl From<Reply> for Deed {
    fn from(reply: Reply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

fn header_name(name: &str) -> HeaderName {
    name.parse().unwrap_or_else(|error| panic!("header {name:?}: {error}"))
}

fn header_value(value: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(value).unwrap_or_else(|error| panic!("header value: {error}"))
}

type Script = Arc<dyn Fn(&Call) -> Deed + Send + Sync>;

/// A running peer, on a thread of its own; stopped when dropped.
#[derive(Debug)]
pub struct Peer {
    counts: Arc<Counts>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    connections: AtomicU64,
}

impl Peer {
    /// A healthy service: every call is answered with SERVING.
    pub fn healthy(address: SocketAddr) -> Self {
        Self::start(address, |_| Reply::serving().into())
    }

    /// Does to every call what `script` says.
    ///
    /// # Panics
    /// The address is taken.
    pub fn start(address: SocketAddr, script: impl Fn(&Call) -> Deed + Send + Sync + 'static) -> Self {
        Self::start_with(address, None, script)
    }

    /// The same, and says GOAWAY (`NO_ERROR`, after a warning, as nginx does) on a connection
    /// after `calls` calls.
    pub fn going_away(
        address: SocketAddr,
        calls: u64,
        script: impl Fn(&Call) -> Deed + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(address, Some(calls), script)
    }

    fn start_with(
        address: SocketAddr,
        calls_per_connection: Option<u64>,
        script: impl Fn(&Call) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("start a peer's runtime: {error}"));
        // Bound before this returns, so that nobody meets a peer that does not listen yet.
        let listener = runtime.block_on(TcpListener::bind(address));
        let listener = listener.unwrap_or_else(|error| panic!("listen at {address}: {error}"));
        let counts = Arc::new(Counts::default());
        let (stop, stopped) = oneshot::channel();
        let shared = Shared { script: Arc::new(script), counts: Arc::clone(&counts), calls_per_connection };
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, shared) => {}
                }
            });
        });
        Self { counts, stop: Some(stop), thread: Some(thread) }
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.counts.calls.load(Ordering::Relaxed)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The thread may have ended in a panic of its script, which it has printed.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[derive(Clone)]
struct Shared {
    script: Script,
    counts: Arc<Counts>,
    calls_per_connection: Option<u64>,
}

async fn accept(listener: TcpListener, shared: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.counts.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(serve(stream, shared.clone()));
    }
}

/// Serves one connection; any error is its end, as the caller's side of it is what is tested.
async fn serve(stream: TcpStream, shared: Shared) {
    let _ = stream.set_nodelay(true);
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let (close, mut closed) = mpsc::channel(1);
    let mut calls = 0;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            Some(end) = closed.recv() => {
                if let End::GoAway(reason) = end {
                    connection.abrupt_shutdown(reason);
                }
                // What is queued goes out first: h2 writes whenever it is polled.
                let _ = tokio::time::timeout(Duration::from_millis(50), connection.accept()).await;
                return;
            }
        };
        let Some(Ok((request, respond))) = accepted else { return };
        tokio::spawn(answer(request, respond, shared.clone(), close.clone()));
        calls += 1;
        if shared.calls_per_connection == Some(calls) {
            connection.graceful_shutdown();
        }
    }
}

/// How a call ends its connection.
enum End {
    Close,
    GoAway(Reason),
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: Shared,
    close: mpsc::Sender<End>,
) {
    let (parts, mut body) = request.into_parts();
    let mut read = BytesMut::new();
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        read.extend_from_slice(&chunk);
    }
    let call = Call {
        number: shared.counts.calls.fetch_add(1, Ordering::Relaxed),
        authority: parts.uri.authority().map(ToString::to_string).unwrap_or_default(),
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        body: read.freeze(),
    };
    match (shared.script)(&call) {
        Deed::Reply(reply) => {
            tokio::time::sleep(reply.delay).await;
            // The caller may have gone meanwhile.
            let _ = send(*reply, &mut respond);
        }
        Deed::Reset(reason) => respond.send_reset(reason),
        Deed::CloseMidway => {
            let mut reply = Reply::serving();
            // A frame that promises two bytes and brings one.
            reply.body = reply.body.map(|body| body.slice(..body.len() - 1));
            reply.trailers = None;
            let head = response(&reply);
            if let (Ok(mut stream), Some(body)) = (respond.send_response(head, false), reply.body) {
                let _ = stream.send_data(body, false);
                let _ = close.send(End::Close).await;
                // Dropped now, the stream would be reset before the connection is closed.
                std::future::pending::<()>().await;
            }
        }
        Deed::GoAway(reason) => {
            let _ = close.send(End::GoAway(reason)).await;
            std::future::pending::<()>().await;
        }
        Deed::Hang => std::future::pending().await,
    }
}

fn response(reply: &Reply) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers.clone();
    response
}

fn send(reply: Reply, respond: &mut SendResponse<Bytes>) -> Result<(), h2::Error> {
    let head = response(&reply);
    let ends = reply.body.is_none() && reply.trailers.is_none();
    let mut stream = respond.send_response(head, ends)?;
    if let Some(body) = reply.body {
        stream.send_data(body, reply.trailers.is_none())?;
    }
    if let Some(trailers) = reply.trailers {
        stream.send_trailers(trailers)?;
    }
    Ok(())
}
