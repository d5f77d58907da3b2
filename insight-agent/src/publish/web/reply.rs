//! What both listeners answer alike: health, readiness, and work that is bounded.

use super::Readiness;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Path of the liveness check.
pub(super) const HEALTHY: &str = "/-/healthy";
/// Path of the readiness check.
pub(super) const READY: &str = "/-/ready";

/// Requests of a listener that may work at once. A scrape holds a few milliseconds of CPU; more
/// at once would take CPU from the probes without serving any scraper sooner.
pub(super) const MAX_WORKING: usize = 8;

/// 200: the process runs and serves.
pub(super) fn healthy() -> MethodRouter {
    get(|| async { text(StatusCode::OK, "healthy\n") })
}

/// 200, or 503 with the reason.
pub(super) fn ready(readiness: Arc<Readiness>) -> MethodRouter {
    get(move || async move {
        match readiness.obstacle() {
            None => text(StatusCode::OK, "ready\n"),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        }
    })
}

/// A plain text answer.
pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        // Part of what stands in a body came with the request; no browser shall guess a type.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, body.into()).into_response()
}

/// Work that blocks a thread for a moment, kept off the threads that probe, a few at once.
#[derive(Clone)]
pub(super) struct Working {
    places: Arc<Semaphore>,
}

/// Why work was not done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotDone {
    /// [`MAX_WORKING`] others are at it.
    Busy,
    /// It panicked; the panic's message is on stderr.
    Broken,
}

impl Working {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_WORKING)) }
    }

    /// Does the work. A request that is cancelled meanwhile keeps its place until the work ends.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| NotDone::Busy)?;
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        working.await.map_err(|_| NotDone::Broken)
    }
}
