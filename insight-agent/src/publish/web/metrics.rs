//! The metrics listener: read only, nothing but figures.

use super::accept;
use super::reply::{self, HEALTHY, READY};
use super::shared_page::{NoPage, SharedPage};
use super::web_config::WebConfig;
use super::{Readiness, web_config};
use crate::door::Door;
use crate::publish::metrics::{CONTENT_TYPE, RenderError};
use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Writes the exposition: `Metrics::render` of the composition root's metrics.
pub type Exposition = Arc<dyn Fn() -> Result<String, RenderError> + Send + Sync>;

const ENDPOINTS: &str = "/metrics    metrics in the Prometheus text format\n\
                         /-/healthy  200 while the process runs\n\
                         /-/ready    200 once the agent does its work\n";

/// What the metrics listener serves and to whom.
pub struct MetricsListener {
    /// Writes the exposition.
    pub exposition: Exposition,
    /// What `/-/ready` answers.
    pub readiness: Arc<Readiness>,
    /// TLS, users and headers. **None**: plain HTTP for everybody.
    pub web_config: Option<WebConfig>,
    /// Who gets in.
    pub door: Arc<Door>,
}

/// Serves `/metrics`, `/-/healthy` and `/-/ready` until `shutdown` ends; then open requests get
/// two seconds. The listener comes from [`super::bind()`].
pub async fn serve_metrics(
    listener: TcpListener,
    parts: MetricsListener,
    shutdown: impl Future<Output = ()>,
) {
    let tls = parts.web_config.as_ref().and_then(WebConfig::tls);
    let door = Arc::clone(&parts.door);
    accept::serve(listener, router(parts), tls, door, accept::DRAIN, shutdown).await;
}

fn router(parts: MetricsListener) -> Router {
    let page = SharedPage::new(parts.exposition);
    let scrape = move || {
        let page = page.clone();
        async move { scraped(page.get().await) }
    };
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route(HEALTHY, reply::healthy())
        .route(READY, reply::ready(parts.readiness))
        .fallback(|| async {
            reply::text(StatusCode::NOT_FOUND, format!("not found; there is:\n{ENDPOINTS}"))
        })
        .method_not_allowed_fallback(|| async {
            reply::text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed; use GET or HEAD\n")
        });
    match parts.web_config {
        Some(config) => web_config::guard(router, &config),
        None => router,
    }
}

fn scraped(page: Result<Bytes, NoPage>) -> Response {
    match page {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(NoPage::Failed(error)) => {
            reply::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}: see the agent's log\n"))
        }
        Err(NoPage::Broken) => {
            reply::text(StatusCode::INTERNAL_SERVER_ERROR, "the scrape broke: see the agent's log\n")
        }
    }
}
