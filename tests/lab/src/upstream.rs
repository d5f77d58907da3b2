//! Connections to one address that speaks HTTP/2 with prior knowledge: opened when needed,
//! shared by many requests, replaced when the other side closes them.

use bytes::Bytes;
use h2::client::SendRequest;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// How long a TCP connect may take; everything is on one machine, so this is a hanging peer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Requests at once on one connection before another one is opened. Half of the 128 streams
/// that nginx allows by default, so that no request ever queues for a stream.
const STREAMS_PER_CONNECTION: usize = 64;
/// Flow-control windows in bytes, per stream and per connection: a WAN of 40 ms round trip must
/// not be slowed by the 64 KiB default.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;
/// See [`STREAM_WINDOW`].
pub(crate) const CONNECTION_WINDOW: u32 = 4 << 20;

/// Why no connection could be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// What the connect attempt ended with.
    pub reason: String,
}

/// The pool of one upstream address.
pub struct Upstream {
    address: SocketAddr,
    max_connections: usize,
    pool: Mutex<Pool>,
    connects: AtomicU64,
}

struct Pool {
    connections: Vec<Connection>,
    /// The last failed attempt. Whoever waited for it shares its result: with a peer that hangs,
    /// waiting requests would otherwise fail one by one, 3 s apart.
    failed: Option<(Instant, Unreachable)>,
}

struct Connection {
    requests: SendRequest<Bytes>,
    closed: Arc<AtomicBool>,
    in_flight: Arc<AtomicUsize>,
}

/// The right to send one request; the request counts as under way until this is dropped.
pub struct Checkout {
    /// Ready to send.
    pub requests: SendRequest<Bytes>,
    /// Time spent to have a connection opened; `None` when one was there.
    pub connect: Option<Duration>,
    in_flight: Arc<AtomicUsize>,
}

impl Drop for Checkout {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Upstream {
    /// A pool of at most `max_connections` connections to `address`; opens none yet.
    pub fn new(address: SocketAddr, max_connections: usize) -> Upstream {
        let pool = Mutex::new(Pool { connections: Vec::new(), failed: None });
        Upstream { address, max_connections: max_connections.max(1), pool, connects: AtomicU64::new(0) }
    }

    /// Where it leads.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections opened since the start.
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    /// A connection with room, opened if there is none. Cancelling loses at most a connect
    /// attempt.
    ///
    /// # Errors
    /// The address refused, reset or did not answer within 3 s.
    pub async fn checkout(&self) -> Result<Checkout, Unreachable> {
        let asked = Instant::now();
        let mut pool = self.pool.lock().await;
        if let Some((at, error)) = &pool.failed
            && *at > asked
        {
            return Err(error.clone());
        }
        loop {
            pool.connections.retain(|c| !c.closed.load(Ordering::Acquire));
            let full = pool.connections.len() >= self.max_connections;
            let idlest = pool.connections.iter().min_by_key(|c| c.in_flight.load(Ordering::Relaxed));
            let Some(found) =
                idlest.filter(|c| full || c.in_flight.load(Ordering::Relaxed) < STREAMS_PER_CONNECTION)
            else {
                let opened = self.open().await;
                let opened =
                    opened.inspect_err(|error| pool.failed = Some((Instant::now(), error.clone())))?;
                let checkout = opened.checkout(Some(asked.elapsed()));
                pool.connections.push(opened);
                return Ok(checkout);
            };
            let mut checkout = found.checkout(None);
            // Fails after a GOAWAY or a close that the connection's task has not told yet.
            match checkout.requests.clone().ready().await {
                Ok(ready) => {
                    checkout.requests = ready;
                    return Ok(checkout);
                }
                Err(_) => found.closed.store(true, Ordering::Release),
            }
        }
    }

    async fn open(&self) -> Result<Connection, Unreachable> {
        let because = |reason: String| Unreachable { reason };
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address));
        let stream = match connecting.await {
            Ok(connected) => connected.map_err(|error| because(error.to_string()))?,
            Err(_) => return Err(because(format!("connect: no answer within {CONNECT_TIMEOUT:?}"))),
        };
        stream.set_nodelay(true).map_err(|error| because(error.to_string()))?;
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake(stream)
            .await
            .map_err(|error| because(error.to_string()))?;
        self.connects.fetch_add(1, Ordering::Relaxed);
        let closed = Arc::new(AtomicBool::new(false));
        let on_close = closed.clone();
        let address = self.address;
        tokio::spawn(async move {
            let ended = connection.await;
            on_close.store(true, Ordering::Release);
            tracing::debug!("upstream connection to {address} ended: {ended:?}");
        });
        Ok(Connection { requests, closed, in_flight: Arc::default() })
    }
}

impl Connection {
    fn checkout(&self, connect: Option<Duration>) -> Checkout {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Checkout { requests: self.requests.clone(), connect, in_flight: self.in_flight.clone() }
    }
}
