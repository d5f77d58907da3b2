//! What a listener's answers refused, counted; and bodies, which no request needs.

use super::accept::MAX_BODY;
use super::reply::{self, READY};
use crate::door::Place;
use crate::model::refusal::Refusal;
use axum::Extension;
use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// The outermost layer: tells a connection's place, which each request carries, of its requests.
pub(super) async fn watch(Extension(place): Extension<Arc<Place>>, request: Request, next: Next) -> Response {
    place.begin();
    let is_ready_check = request.uri().path() == READY;
    let response = if request.body().size_hint().upper().is_none_or(|bytes| bytes > MAX_BODY) {
        let body = format!("no request needs a body; more than {MAX_BODY} bytes are not taken\n");
        // What is left of the body is not read: the connection ends with the answer.
        let close = [(header::CONNECTION, "close")];
        (close, reply::text(StatusCode::PAYLOAD_TOO_LARGE, body)).into_response()
    } else {
        next.run(request).await
    };
    if let Some(reason) = refusal(response.status(), is_ready_check) {
        place.refuse(reason);
    }
    place.end();
    response
}

/// What an answer refused. **None**: nothing, or only a page that does not exist.
fn refusal(status: StatusCode, is_ready_check: bool) -> Option<Refusal> {
    match status {
        StatusCode::UNAUTHORIZED => Some(Refusal::Unauthenticated),
        StatusCode::FORBIDDEN => Some(Refusal::Forbidden),
        StatusCode::PAYLOAD_TOO_LARGE => Some(Refusal::BodyTooLarge),
        StatusCode::SERVICE_UNAVAILABLE if !is_ready_check => Some(Refusal::Busy),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_is_not_ready_refuses_nobody() {
        assert_eq!(refusal(StatusCode::SERVICE_UNAVAILABLE, true), None);
        assert_eq!(refusal(StatusCode::SERVICE_UNAVAILABLE, false), Some(Refusal::Busy));
        assert_eq!(refusal(StatusCode::NOT_FOUND, false), None);
    }
}
