//! A gRPC service with a known service time: `grpc.health.v1.Health` (always SERVING), a unary
//! method of its own, [`WORK`](crate::call::WORK), one that streams,
//! [`STREAM`](crate::call::STREAM), and the [`words`], which server reflection describes.
//!
//! The service time is waited between the arrival of a request and its handling, for the health
//! service too: a slow service must look slow to a black-box probe.

use crate::{clock, control};
use anyhow::{Context, Result, ensure};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic_prost::ProstCodec;

pub mod stream;
pub mod words;

/// Longest settable service time in microseconds: a minute, beyond every deadline in the lab.
const MAX_DELAY_US: u64 = 60_000_000;

/// How long the service takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceTime {
    /// Waited by every request, in microseconds.
    pub fixed_us: u64,
    /// Mean of the further, exponentially distributed time, in microseconds; 0 adds none.
    pub exponential_mean_us: u64,
}

impl ServiceTime {
    /// Draws one service time. `uniform` lies in [0, 1).
    fn draw(self, uniform: f64) -> Duration {
        // Inverse of the exponential distribution; 1 − uniform is never 0.
        let exponential_us = self.exponential_mean_us as f64 * -(1.0 - uniform).ln();
        Duration::from_micros(self.fixed_us) + Duration::from_micros(exponential_us as u64)
    }
}

/// A control request to a service; the answer is always a [`ServiceState`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceRequest {
    /// Only tell.
    Get,
    /// Take this long from now on.
    Set(ServiceTime),
}

/// Settings and counters of a service.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ServiceState {
    /// The service time in force.
    pub time: ServiceTime,
    /// Requests that arrived.
    pub requests: u64,
}

/// The pace that all connections of one service share.
#[derive(Default)]
struct Pace {
    time: Mutex<ServiceTime>,
    requests: AtomicU64,
}

impl Pace {
    fn time(&self) -> ServiceTime {
        *self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out one control request and tells the state after it.
    fn answer(&self, request: ServiceRequest) -> Result<ServiceState> {
        if let ServiceRequest::Set(time) = request {
            for (key, us) in [("fixed_us", time.fixed_us), ("exponential_mean_us", time.exponential_mean_us)]
            {
                ensure!(us <= MAX_DELAY_US, "service time: {key} = {us}: at most {MAX_DELAY_US}");
            }
            *self.time.lock().unwrap_or_else(PoisonError::into_inner) = time;
        }
        Ok(ServiceState { time: self.time(), requests: self.requests.load(Ordering::Relaxed) })
    }
}

/// Runs a service until the process ends.
///
/// # Errors
/// One of its two addresses cannot be bound.
pub async fn run(listen: SocketAddr, control: SocketAddr, time: ServiceTime) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("service: bind {listen}"))?;
    let control_listener =
        TcpListener::bind(control).await.with_context(|| format!("service: bind control {control}"))?;
    let pace = Arc::new(Pace::default());
    pace.answer(ServiceRequest::Set(time))?;
    let answering = pace.clone();
    tokio::spawn(control::serve(control_listener, move |request| answering.answer(request)));

    let described = words::descriptor_set();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(&described)
        .build_v1()
        .context("service: describe its messages")?;
    let (_reporter, health) = tonic_health::server::health_reporter();
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .layer(Paced::layer(pace))
        .add_service(health)
        .add_service(Work)
        .add_service(words::Words)
        .add_service(reflection)
        .serve_with_incoming(incoming)
        .await
        .with_context(|| format!("service: serve {listen}"))
}

// ── the service time ────────────────────────────────────────────────────────────────────────

/// Waits the service time, then lets the inner service handle the request.
#[derive(Clone)]
struct Paced<S> {
    inner: S,
    pace: Arc<Pace>,
}

impl Paced<()> {
    fn layer<S>(pace: Arc<Pace>) -> impl tower::Layer<S, Service = Paced<S>> + Clone {
        tower::layer::layer_fn(move |inner| Paced { inner, pace: pace.clone() })
    }
}

type Later<R, E> = Pin<Box<dyn Future<Output = Result<R, E>> + Send>>;

impl<S, B> Service<http::Request<B>> for Paced<S>
where
    S: Service<http::Request<B>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Later<S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        // The instance that was polled ready must be the one that is called.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        self.pace.requests.fetch_add(1, Ordering::Relaxed);
        let wait = self.pace.time().draw(rand::rng().random());
        Box::pin(async move {
            if let Err(error) = clock::sleep(wait).await {
                tracing::warn!("service time not waited: {error}");
            }
            ready.call(request).await
        })
    }
}

// ── insight.lab.v1.Work ─────────────────────────────────────────────────────────────────────

/// `insight.lab.v1.Work`: `Do` takes any message and answers with an empty one, `Stream` with as
/// many as the request's metadata asks for. Written by hand because neither needs generated code.
#[derive(Clone)]
struct Work;

impl tonic::server::NamedService for Work {
    const NAME: &'static str = "insight.lab.v1.Work";
}

/// The method itself.
struct Do;

impl tonic::server::UnaryService<()> for Do {
    type Response = ();
    type Future = std::future::Ready<Result<tonic::Response<()>, tonic::Status>>;

    fn call(&mut self, _request: tonic::Request<()>) -> Self::Future {
        std::future::ready(Ok(tonic::Response::new(())))
    }
}

impl<B> Service<http::Request<B>> for Work
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Later<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _cx: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() == crate::call::WORK {
                // `()` is prost's empty message: unknown fields of the request are skipped.
                let mut grpc = tonic::server::Grpc::new(ProstCodec::<(), ()>::default());
                Ok(grpc.unary(Do, request).await)
            } else if request.uri().path() == crate::call::STREAM {
                let mut grpc = tonic::server::Grpc::new(ProstCodec::<Vec<u8>, ()>::default());
                Ok(grpc.server_streaming(stream::Messages, request).await)
            } else {
                Ok(tonic::Status::unimplemented("insight.lab.v1.Work has the methods Do and Stream")
                    .into_http())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_service_time_has_the_mean_it_was_given() {
        let time = ServiceTime { fixed_us: 1_000, exponential_mean_us: 100_000 };
        let draws = 10_000;
        // Evenly spaced quantiles instead of random draws: the same figure on every run.
        let sum: Duration = (0..draws).map(|i| time.draw((f64::from(i) + 0.5) / f64::from(draws))).sum();
        let mean_us = sum.as_micros() as f64 / f64::from(draws);
        assert!((mean_us - 101_000.0).abs() < 500.0, "mean {mean_us} us");
    }

    #[test]
    fn without_an_exponential_part_every_draw_is_the_fixed_time() {
        let time = ServiceTime { fixed_us: 250, exponential_mean_us: 0 };
        assert_eq!(time.draw(0.999), Duration::from_micros(250));
    }
}
