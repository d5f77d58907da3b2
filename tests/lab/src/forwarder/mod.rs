//! The embedded reference forwarder: a gRPC-aware HTTP/2 proxy that says what time it took.
//!
//! Requests are routed by metadata, streamed both ways with flow control, trailers included, and
//! multiplexed over pooled upstream connections. Every response gets one more
//! `x-insight-hop: NAME;d=…;u=…;c=…` in milliseconds, after those of the hops behind:
//!
//! - `d` from the arrival of the request's headers to the departure of the response's headers;
//! - `u` from the check-out of an upstream connection to the arrival of the response's headers;
//! - `c` the part of `u` in which a connection had to be opened, absent when one was there.
//!
//! A response that this hop made itself has no `u`: there was no upstream answer to time.

mod exchange;
mod pump;
mod route;

pub use route::{Route, Routes};

use crate::control;
use crate::upstream::{CONNECTION_WINDOW, STREAM_WINDOW};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Streams that one downstream connection may have open; nginx allows 128, Envoy 100.
const STREAMS_PER_DOWNSTREAM: u32 = 256;
/// Longest settable request delay: a minute, beyond every deadline in the lab.
const MAX_DELAY_US: u64 = 60_000_000;

/// How one forwarder is set up.
#[derive(Debug, Clone)]
pub struct ForwarderOptions {
    /// The hop's name, first in its header value.
    pub name: String,
    /// Appends no header value: a hop that nobody configured for Insight.
    pub silent: bool,
    /// Where downstreams connect.
    pub listen: SocketAddr,
    /// Where the control protocol is served.
    pub control: SocketAddr,
    /// Where requests go.
    pub routes: Routes,
    /// How long an upstream may take to its response headers, and then between two chunks.
    pub upstream_timeout: Duration,
    /// Downstream connections at once; further ones wait in the accept queue.
    pub max_connections: usize,
}

/// A control request to a forwarder; the answer is always a [`ForwarderState`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwarderRequest {
    /// Only tell.
    Get,
    /// Hold every request this long, in microseconds, between its arrival and its forwarding.
    SetRequestDelayUs(u64),
}

/// Settings and counters of a forwarder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ForwarderState {
    /// The hop's name.
    pub name: String,
    /// See [`ForwarderRequest::SetRequestDelayUs`].
    pub request_delay_us: u64,
    /// Requests that arrived.
    pub requests: u64,
    /// Requests this hop answered itself: no route, no upstream, too late.
    pub failures: u64,
    /// Requests that the downstream gave up on.
    pub cancelled: u64,
    /// Upstream connections opened.
    pub upstream_connects: u64,
}

/// What all connections of one forwarder share.
struct Forwarder {
    options: ForwarderOptions,
    request_delay_us: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
    cancelled: AtomicU64,
}

/// Runs a forwarder until the process ends.
///
/// # Errors
/// One of its two addresses cannot be bound.
pub async fn run(options: ForwarderOptions) -> Result<()> {
    let (name, listen, control) = (options.name.clone(), options.listen, options.control);
    let listener = TcpListener::bind(listen).await.with_context(|| format!("{name}: bind {listen}"))?;
    let control_listener =
        TcpListener::bind(control).await.with_context(|| format!("{name}: bind control {control}"))?;
    let slots = Arc::new(Semaphore::new(options.max_connections));
    let forwarder = Arc::new(Forwarder {
        options,
        request_delay_us: AtomicU64::new(0),
        requests: AtomicU64::new(0),
        failures: AtomicU64::new(0),
        cancelled: AtomicU64::new(0),
    });
    let answering = forwarder.clone();
    tokio::spawn(control::serve(control_listener, move |request| answering.answer(request)));
    loop {
        let slot = slots.clone().acquire_owned().await.context("connection slots are never closed")?;
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(forwarder.clone().serve(stream, slot));
            }
            Err(error) => {
                // Typically no file descriptors: accepting again at once would only spin.
                tracing::warn!("{name}: accept: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

impl Forwarder {
    /// Carries out one control request and tells the state after it.
    fn answer(&self, request: ForwarderRequest) -> Result<ForwarderState> {
        if let ForwarderRequest::SetRequestDelayUs(delay_us) = request {
            ensure!(delay_us <= MAX_DELAY_US, "request delay of {delay_us} us: at most {MAX_DELAY_US}");
            self.request_delay_us.store(delay_us, Ordering::Relaxed);
        }
        Ok(ForwarderState {
            name: self.options.name.clone(),
            request_delay_us: self.request_delay_us.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            cancelled: self.cancelled.load(Ordering::Relaxed),
            upstream_connects: self.options.routes.connects(),
        })
    }

    /// One downstream connection until it closes.
    async fn serve(self: Arc<Self>, stream: TcpStream, _slot: OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let handshake = h2::server::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(STREAMS_PER_DOWNSTREAM)
            .handshake::<_, Bytes>(stream);
        let mut connection = match handshake.await {
            Ok(connection) => connection,
            Err(error) => return tracing::debug!("{}: handshake: {error}", self.options.name),
        };
        while let Some(request) = connection.accept().await {
            let arrived = Instant::now();
            match request {
                Ok((request, respond)) => {
                    self.requests.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(self.clone().forward(request, respond, arrived));
                }
                Err(error) => return tracing::debug!("{}: connection: {error}", self.options.name),
            }
        }
    }
}
