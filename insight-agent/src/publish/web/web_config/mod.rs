//! The metrics listener's TLS, users and headers, in the format of Prometheus' web configuration.
//!
//! The file is read at start. Certificate, key and client authorities are read again when their
//! files change, since certificates are renewed more often than agents are restarted.
//!
//! **Source**: prometheus/exporter-toolkit, `docs/web-configuration.md`.

mod basic_auth;
mod error;
mod file;
mod tls;

pub use error::WebConfigError;
pub(super) use tls::Tls;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use basic_auth::Users;
use std::path::Path;
use std::sync::Arc;

/// A checked web configuration.
#[derive(Debug, Clone)]
pub struct WebConfig {
    /// **None**: plain HTTP.
    tls: Option<Arc<Tls>>,
    /// **None**: everybody may read.
    users: Option<Arc<Users>>,
    /// Added to every response.
    headers: HeaderMap,
}

impl WebConfig {
    /// Reads and checks a web configuration file; paths in it are relative to its folder.
    ///
    /// **Errors**: each names the file and the key; no error shows a hash or a key's content.
    pub fn load(path: &Path) -> Result<Self, WebConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| WebConfigError::Read { path: path.to_owned(), source })?;
        let file = file::parse(path, &text)?;
        Ok(Self {
            tls: file.tls.map(Tls::load).transpose()?.map(Arc::new),
            users: (!file.users.is_empty()).then(|| Arc::new(Users::new(file.users))),
            headers: file.headers,
        })
    }

    /// Whether the listener speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether the listener asks who reads.
    pub fn has_users(&self) -> bool {
        self.users.is_some()
    }

    pub(super) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }
}

/// Puts users and headers before a whole router, health checks and unknown paths included.
pub(super) fn guard(router: Router, config: &WebConfig) -> Router {
    let mut router = router;
    if let Some(users) = &config.users {
        router = router.layer(from_fn_with_state(Arc::clone(users), check_user));
    }
    if !config.headers.is_empty() {
        router = router.layer(from_fn_with_state(Arc::new(config.headers.clone()), add_headers));
    }
    router
}

async fn check_user(State(users): State<Arc<Users>>, request: Request, next: Next) -> Response {
    if users.admit(request.headers()).await {
        return next.run(request).await;
    }
    let body = super::reply::text(StatusCode::UNAUTHORIZED, "unauthorized\n");
    let challenge = HeaderValue::from_static("Basic realm=\"insight-agent\", charset=\"UTF-8\"");
    ([(header::WWW_AUTHENTICATE, challenge)], body).into_response()
}

async fn add_headers(State(headers): State<Arc<HeaderMap>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in headers.iter() {
        response.headers_mut().insert(name, value.clone());
    }
    response
}
