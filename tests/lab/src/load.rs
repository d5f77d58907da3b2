//! Background traffic: open-loop Poisson arrivals over a few shared connections.
//!
//! Open loop means that a slow path does not slow the arrivals down: each request starts at its
//! own drawn moment, however many are still under way.

use crate::call::{Caller, WORK};
use crate::clock::Timer;
use crate::control;
use anyhow::{Context, Result, ensure};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Requests under way at once; beyond that arrivals are shed and counted. At 100 ms service
/// time this is reached at 10,000 requests per second, far beyond what a lab offers.
const MAX_IN_FLIGHT: u64 = 1024;
/// After this a request counts as failed.
const DEADLINE: Duration = Duration::from_secs(10);

/// What to send, how often, how long.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The forwarder to call.
    pub target: SocketAddr,
    /// Mean arrivals per second; above 0.
    pub requests_per_second: f64,
    /// Connections that the requests share.
    pub connections: usize,
    /// Metadata of every request.
    pub metadata: Vec<(String, String)>,
    /// When to stop.
    pub duration: Duration,
    /// Where the counters can be asked for; nowhere if `None`.
    pub control: Option<SocketAddr>,
}

/// A control request to the load generator; the answer is a [`LoadState`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadRequest {
    /// Only tell.
    Get,
}

/// Counters of a load generator, since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadState {
    /// Requests sent.
    pub sent: u64,
    /// Answered with gRPC status 0.
    pub ok: u64,
    /// Answered otherwise or not at all.
    pub errors: u64,
    /// Arrivals not sent because too many requests were under way.
    pub shed: u64,
    /// Requests under way now.
    pub in_flight: u64,
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    ok: AtomicU64,
    errors: AtomicU64,
    shed: AtomicU64,
}

impl Counters {
    fn state(&self) -> LoadState {
        let (ok, errors) = (self.ok.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed));
        // Read last: a request that ends in between cannot make this negative.
        let sent = self.sent.load(Ordering::Relaxed);
        let shed = self.shed.load(Ordering::Relaxed);
        LoadState { sent, ok, errors, shed, in_flight: sent.saturating_sub(ok + errors) }
    }
}

/// Offers the load until its time is over and returns what became of it.
///
/// # Errors
/// A rate that is not above 0, or a control address that cannot be bound. Failing requests are
/// counted, not returned.
pub async fn run(options: LoadOptions) -> Result<LoadState> {
    let rate = options.requests_per_second;
    ensure!(rate.is_finite() && rate > 0.0, "load: {rate} requests per second: expected more than 0");
    let counters = Arc::new(Counters::default());
    if let Some(address) = options.control {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("load: bind control {address}"))?;
        let counters = counters.clone();
        tokio::spawn(control::serve(listener, move |_: LoadRequest| Ok(counters.state())));
    }
    let caller = Arc::new(Caller::new(options.target, options.connections));
    let metadata = Arc::new(options.metadata);
    let timer = Timer::new().context("load: timer")?;
    let end = Instant::now() + options.duration;
    let mut next = Instant::now();
    loop {
        // Arrivals of a Poisson process are exponentially distributed apart.
        next += Duration::from_secs_f64(-(1.0 - rand::rng().random::<f64>()).ln() / rate);
        if next >= end {
            break;
        }
        timer.sleep_until(next).await.context("load: timer")?;
        if counters.state().in_flight >= MAX_IN_FLIGHT {
            counters.shed.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        counters.sent.fetch_add(1, Ordering::Relaxed);
        let (caller, metadata, counters) = (caller.clone(), metadata.clone(), counters.clone());
        tokio::spawn(async move {
            let metadata: Vec<_> = metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let outcome = caller.call(WORK, &metadata, DEADLINE).await;
            let counter = match outcome {
                Ok(reply) if reply.grpc_status() == Some(0) => &counters.ok,
                _ => &counters.errors,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        });
    }
    // What is under way gets its answer or its deadline.
    let drained = Instant::now() + DEADLINE;
    while counters.state().in_flight > 0 && Instant::now() < drained {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(counters.state())
}
