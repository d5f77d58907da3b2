//! The metrics listener: read only, nothing but figures.

use super::accept;
use super::reply::{self, HEALTHY, READY};
use super::shared_page::{Broken, Page, SharedPage};
use super::web_config::WebConfig;
use super::{Readiness, web_config};
use crate::door::Door;
use crate::publish::metrics::{CONTENT_TYPE, Give};
use axum::Router;
use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Writes the exposition: `Metrics::write` of the composition root's metrics.
pub type Exposition = Arc<dyn Fn(&mut Give<'_>) + Send + Sync>;

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
    let page = SharedPage::new(parts.exposition, parts.door);
    let scrape = move |method: Method| {
        let page = page.clone();
        async move { scraped(&method, page.get().await).await.unwrap_or_else(broke) }
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

/// A page of one piece is sent with its length, a longer one as it is written. What HEAD asks for is the
/// length, so it waits for the end.
async fn scraped(method: &Method, page: Result<Page, Broken>) -> Result<Response, Broken> {
    let (page, content_type) = (page?, (header::CONTENT_TYPE, CONTENT_TYPE));
    if method == Method::HEAD {
        let length = (header::CONTENT_LENGTH, page.length().await?.to_string());
        return Ok(([content_type], [length]).into_response());
    }
    Ok(([content_type], Body::new(page)).into_response())
}

fn broke(broken: Broken) -> Response {
    reply::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{broken}\n"))
}
