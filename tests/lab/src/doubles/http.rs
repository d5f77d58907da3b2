//! The server below both doubles: HTTP/1.1, GET only, with or without TLS, written out so that every byte can be wrong.

use super::fault::Fault;
use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// Requests that are remembered.
const REMEMBERED: usize = 10_000;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Segments of the path, decoded.
    pub segments: Vec<String>,
    /// The query, decoded; a name without a value has an empty one.
    pub query: Vec<(String, String)>,
    /// The value of `authorization`.
    pub authorization: Option<String>,
}

impl Request {
    /// The first value of this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The bearer token.
    pub fn token(&self) -> Option<&str> {
        self.authorization.as_deref()?.strip_prefix("Bearer ")
    }
}

/// A part of an answer that goes on.
#[derive(Debug)]
pub(super) enum Part {
    Bytes(Vec<u8>),
    /// Closes the connection without the end of the answer.
    Cut,
}

/// How to answer.
#[derive(Debug)]
pub(super) enum Reply {
    Whole {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// Until the channel is closed.
    Stream(mpsc::Receiver<Part>),
}

impl Reply {
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::Whole { status, headers: Vec::new(), body: value.to_string().into_bytes() }
    }

    pub fn text(status: u16, text: &str) -> Self {
        Self::Whole { status, headers: Vec::new(), body: text.as_bytes().to_vec() }
    }
}

type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;
type Handler = Arc<dyn Fn(Request) -> Answering + Send + Sync>;

/// What the listener and its connections share.
struct Shared {
    handler: Handler,
    fault: Mutex<Option<Fault>>,
    /// The last requests: target and authorization.
    seen: Mutex<VecDeque<(String, Option<String>)>>,
    requests: std::sync::atomic::AtomicU64,
    /// Counts up to end all connections.
    cut: watch::Sender<u64>,
}

/// The handle of a double's listener. Dropping it ends the server.
pub struct Server {
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    shared: Arc<Shared>,
    running: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

impl Server {
    /// Listens; port 0 is a free one, which it keeps.
    pub(super) async fn start(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: Handler,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            handler,
            fault: Mutex::default(),
            seen: Mutex::default(),
            requests: Default::default(),
            cut: watch::Sender::new(0),
        });
        let mut server = Self { address, tls, shared, running: None };
        server.restart().await?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and every connection, as a killed process does. Connecting is refused from then on.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            // The listener is closed when it has ended; how it ends is known.
            let _ = running.await;
        }
    }

    /// Listens again, on the same port.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await;
        let listener = TcpListener::bind(self.address)
            .await
            .with_context(|| format!("double: listen on {}", self.address))?;
        self.address = listener.local_addr()?;
        self.running = Some(tokio::spawn(accept(listener, self.tls.clone(), Arc::clone(&self.shared))));
        Ok(())
    }

    /// Closes every connection at once, without an end of what is under way.
    pub fn cut(&self) {
        self.shared.cut.send_modify(|count| *count += 1);
    }

    /// Answers so from the next request on; `None` is rightly. Requests that are held are cut.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let cuts = fault.is_some();
        *lock(&self.shared.fault) = fault;
        if cuts {
            self.cut();
        }
    }

    /// Requests since the start.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Targets of the last requests, as they were sent.
    pub fn seen(&self) -> Vec<String> {
        lock(&self.shared.seen).iter().map(|(target, _)| target.clone()).collect()
    }

    /// The `authorization` of the last request. **None**: it had none, or there was no request.
    pub fn last_authorization(&self) -> Option<String> {
        lock(&self.shared.seen).back()?.1.clone()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, shared: Arc<Shared>) {
    // Dropped with this task, which ends them.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            let mut cut = shared.cut.subscribe();
            let conversation = async {
                match tls {
                    None => converse(stream, &shared).await,
                    Some(tls) => {
                        let stream = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await?;
                        converse(stream, &shared).await
                    }
                }
            };
            tokio::select! {
                ended = conversation => if let Err(error) = ended {
                    tracing::debug!("double: connection: {error:#}");
                },
                _ = cut.changed() => {}
            }
        });
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Send>(stream: S, shared: &Shared) -> Result<()> {
    let (read, write) = tokio::io::split(stream);
    let (mut read, mut write) = (BufReader::new(read), BufWriter::new(write));
    loop {
        let Some((target, request)) = read_request(&mut read).await? else { return Ok(()) };
        shared.requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        {
            let mut seen = lock(&shared.seen);
            if seen.len() == REMEMBERED {
                seen.pop_front();
            }
            seen.push_back((target, request.authorization.clone()));
        }
        let fault = lock(&shared.fault).clone();
        match fault {
            Some(Fault::Silence) => return std::future::pending().await,
            Some(Fault::Status { code, body, retry_after }) => {
                let headers = retry_after.map(|seconds| ("retry-after", seconds.to_string()));
                let headers = headers.into_iter().collect();
                write_whole(&mut write, code, headers, body.as_bytes(), body.len()).await?;
                continue;
            }
            Some(Fault::Garbage) => {
                let headers = vec![("x-consul-index", "7".to_owned())];
                write_whole(&mut write, 200, headers, b"<html>\n", 7).await?;
                continue;
            }
            Some(Fault::Endless) => return write_endless(&mut write).await,
            Some(Fault::Slow(delay)) => tokio::time::sleep(delay).await,
            Some(Fault::Torn) | None => {}
        }
        let reply = tokio::select! {
            reply = (shared.handler)(request) => reply,
            // Nobody pipelines, so this is the end of the connection: what is held for it is not held any more.
            _ = read.fill_buf() => return Ok(()),
        };
        let torn = fault == Some(Fault::Torn);
        match reply {
            Reply::Whole { status, headers, body } => {
                let sent = if torn { &body[..body.len() / 2] } else { &body };
                write_whole(&mut write, status, headers, sent, body.len()).await?;
                if torn {
                    return Ok(());
                }
            }
            Reply::Stream(parts) => {
                let goes_on = tokio::select! {
                    goes_on = write_stream(&mut write, parts, torn) => goes_on?,
                    _ = read.fill_buf() => false,
                };
                if !goes_on {
                    return Ok(());
                }
            }
        }
    }
}

/// One request: its target as sent, and as read. **None**: the connection has ended.
async fn read_request<R: AsyncRead + Unpin>(read: &mut BufReader<R>) -> Result<Option<(String, Request)>> {
    let mut line = String::new();
    if read.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).context("no target in the first line")?.to_owned();
    let mut authorization = None;
    loop {
        let mut header = String::new();
        read.read_line(&mut header).await?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        if name.eq_ignore_ascii_case("authorization") {
            authorization = Some(value.to_owned());
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let segments = path.split('/').skip(1).map(decode).collect();
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    });
    let request = Request { segments, query: query.collect(), authorization };
    Ok(Some((target, request)))
}

/// Percent-decoded; what is no such code stays.
fn decode(text: &str) -> String {
    let (mut decoded, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..2).filter(|_| *first == b'%');
        match code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &behind[2..];
            }
            None => {
                decoded.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

async fn write_whole<W: AsyncWrite + Unpin>(
    write: &mut W,
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: &[u8],
    promised: usize,
) -> Result<()> {
    let mut head = format!("HTTP/1.1 {status} Double\r\ncontent-type: application/json\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {promised}\r\n\r\n"));
    write.write_all(head.as_bytes()).await?;
    write.write_all(body).await?;
    Ok(write.flush().await?)
}

const CHUNKED: &[u8] =
    b"HTTP/1.1 200 Double\r\ncontent-type: application/json\r\nx-consul-index: 7\r\ntransfer-encoding: chunked\r\n\r\n";

/// Whether the connection may go on.
async fn write_stream<W: AsyncWrite + Unpin>(
    write: &mut W,
    mut parts: mpsc::Receiver<Part>,
    torn: bool,
) -> Result<bool> {
    write.write_all(CHUNKED).await?;
    write.flush().await?;
    while let Some(part) = parts.recv().await {
        let Part::Bytes(bytes) = part else { return Ok(false) };
        let sent = if torn { &bytes[..bytes.len() / 2] } else { &bytes };
        write.write_all(format!("{:x}\r\n", sent.len()).as_bytes()).await?;
        write.write_all(sent).await?;
        write.write_all(b"\r\n").await?;
        write.flush().await?;
        if torn {
            return Ok(false);
        }
    }
    write.write_all(b"0\r\n\r\n").await?;
    write.flush().await?;
    Ok(true)
}

async fn write_endless<W: AsyncWrite + Unpin>(write: &mut W) -> Result<()> {
    write.write_all(CHUNKED).await?;
    let spaces = vec![b' '; 1 << 16];
    loop {
        write.write_all(b"10000\r\n").await?;
        write.write_all(&spaces).await?;
        write.write_all(b"\r\n").await?;
    }
}
