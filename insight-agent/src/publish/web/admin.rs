//! The admin listener: the JSON API for people and tools on this host.

use super::reply::{self, HEALTHY, NotDone, READY, Working};
use super::{Readiness, Secret, accept, origin};
use crate::door::Door;
use crate::model::reload::ReloadSummary;
use crate::model::status::Status;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Takes the agent's status now, from memory.
pub type StatusSource = Arc<dyn Fn() -> Status + Send + Sync>;

/// Reads the configuration again; gives what became of it, or what is wrong with it.
pub type ReloadSource =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<ReloadSummary, String>> + Send>> + Send + Sync>;

const STATUS: &str = "/api/v1/status";
/// As Prometheus has it.
const RELOAD: &str = "/-/reload";

/// What the admin listener serves and to whom.
pub struct AdminListener {
    /// What `/api/v1/status` answers.
    pub status: StatusSource,
    /// What `/-/ready` answers.
    pub readiness: Arc<Readiness>,
    /// The bearer token that everything but the two health checks asks for. **None**: no token;
    /// who reaches the address may read.
    pub token: Option<Secret>,
    /// What `POST /-/reload` does. **None**: there is no file to read again, and it is not found.
    pub reload: Option<ReloadSource>,
    /// Who gets in.
    pub door: Arc<Door>,
}

/// Serves `/api/v1/status`, `/-/reload`, `/-/healthy` and `/-/ready` until `shutdown` ends; then open requests
/// get two seconds. Requests of web pages are refused. The listener comes from [`super::bind()`].
pub async fn serve_admin(listener: TcpListener, parts: AdminListener, shutdown: impl Future<Output = ()>) {
    // An address that cannot be read is taken for the stricter kind.
    let loopback = listener.local_addr().map_or(true, |addr| addr.ip().to_canonical().is_loopback());
    let door = Arc::clone(&parts.door);
    accept::serve(listener, router(parts, loopback), None, door, accept::DRAIN, shutdown).await;
}

/// Who may pass.
#[derive(Clone)]
struct Guard {
    loopback: bool,
    token: Option<Secret>,
}

fn router(parts: AdminListener, loopback: bool) -> Router {
    let working = Working::new();
    let source = parts.status;
    let status = move |uri: Uri| {
        let (working, source) = (working.clone(), Arc::clone(&source));
        let pretty = wants_pretty(&uri);
        async move { answered(working.run(move || write(&source(), pretty)).await) }
    };
    let mut router = Router::new();
    if let Some(reload) = parts.reload {
        let reload = move || {
            let reloading = reload();
            async move { reloaded(reloading.await) }
        };
        router = router.route(RELOAD, post(reload));
    }
    router
        .route(STATUS, get(status))
        .route(HEALTHY, reply::healthy())
        .route(READY, reply::ready(parts.readiness))
        .fallback(|| async {
            let message = format!("not found; there is {STATUS}, {RELOAD}, {HEALTHY} and {READY}");
            refused(StatusCode::NOT_FOUND, &message)
        })
        .method_not_allowed_fallback(|uri: Uri| async move {
            let wanted = if uri.path() == RELOAD { "POST" } else { "GET or HEAD" };
            refused(StatusCode::METHOD_NOT_ALLOWED, &format!("method not allowed; use {wanted}"))
        })
        .layer(from_fn_with_state(Arc::new(Guard { loopback, token: parts.token }), check))
}

async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if let Some(reason) = origin::refusal(request.headers(), request.uri(), guard.loopback) {
        return refused(StatusCode::FORBIDDEN, reason);
    }
    // Health checks of an orchestrator have no token, and tell nothing that needs one.
    let open = [HEALTHY, READY].contains(&request.uri().path());
    match &guard.token {
        Some(token) if !open => match bearer(request.headers()) {
            None => unauthorized("Bearer", "a bearer token is needed: Authorization: Bearer TOKEN"),
            Some(presented) if !token.matches(presented) => {
                unauthorized("Bearer error=\"invalid_token\"", "the bearer token is not the configured one")
            }
            Some(_) => next.run(request).await,
        },
        _ => next.run(request).await,
    }
}

/// The token that a request carries (RFC 6750, section 2.1). **None**: it carries none, or two.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

fn unauthorized(challenge: &'static str, message: &str) -> Response {
    let mut response = refused(StatusCode::UNAUTHORIZED, message);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

/// `?pretty`, `?pretty=true`, …
fn wants_pretty(uri: &Uri) -> bool {
    uri.query().into_iter().flat_map(|q| q.split('&')).any(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        key == "pretty" && !matches!(value, "false" | "0")
    })
}

fn write(status: &Status, pretty: bool) -> Result<String, serde_json::Error> {
    let write = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
    write(status).map(|text| text + "\n")
}

fn answered(written: Result<Result<String, serde_json::Error>, NotDone>) -> Response {
    match written {
        Ok(Ok(body)) => json(StatusCode::OK, body),
        Err(NotDone::Busy) => {
            refused(StatusCode::SERVICE_UNAVAILABLE, "too many requests are under way; try again later")
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "write the status as JSON");
            refused(StatusCode::INTERNAL_SERVER_ERROR, "the status cannot be written: see the agent's log")
        }
        Err(NotDone::Broken) => {
            refused(StatusCode::INTERNAL_SERVER_ERROR, "the status broke: see the agent's log")
        }
    }
}

fn reloaded(result: Result<ReloadSummary, String>) -> Response {
    match result.map(|summary| serde_json::to_string(&summary)) {
        Ok(Ok(body)) => json(StatusCode::OK, body + "\n"),
        Ok(Err(error)) => {
            tracing::error!(%error, "write what a reload did as JSON");
            let message = "the configuration is reloaded, but what changed cannot be written";
            refused(StatusCode::INTERNAL_SERVER_ERROR, message)
        }
        Err(why) => refused(StatusCode::INTERNAL_SERVER_ERROR, &why),
    }
}

fn refused(status: StatusCode, message: &str) -> Response {
    json(status, format!("{}\n", serde_json::json!({ "error": message })))
}

fn json(status: StatusCode, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, body).into_response()
}
