//! Bounds on requests: how many, how large a head, how long to a body, and what was refused.
//!
//! The outermost layer, so that the receiver's figures do not have its nanoseconds in them. It tells a
//! connection's [`Place`] when requests begin and end, which is what keeps a busy connection open while idle
//! ones are closed for newcomers.

use crate::door::Place;
use crate::model::refusal::Refusal;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// Requests of all connections under way at once. Each may hold two payloads; twenty times what a region of
/// a few dozen senders has under way with the longest drill.
pub(super) const MAX_REQUESTS: usize = 1024;

/// Most bytes of a request's names and values, as HTTP/2 counts them (32 more per field). Ours has some 400,
/// one that ten proxies have traced a few thousand.
pub(super) const MAX_HEAD: usize = 16 << 10;

/// Time beyond the longest delay that a caller may ask for, until a response has begun: for the body to come
/// over a slow path.
const PATIENCE: Duration = Duration::from_secs(10);

/// The layer; one for the whole listener.
#[derive(Debug, Clone)]
pub(super) struct GateLayer {
    under_way: Arc<AtomicUsize>,
    longest: Duration,
}

impl GateLayer {
    /// For services that take up to `max_delay` on purpose.
    pub(super) fn new(max_delay: Duration) -> Self {
        Self { under_way: Arc::default(), longest: max_delay.saturating_add(PATIENCE) }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, layer: self.clone() }
    }
}

/// See [`GateLayer`].
#[derive(Debug, Clone)]
pub(super) struct Gate<S> {
    inner: S,
    layer: GateLayer,
}

impl<S, In, Out> Service<Request<In>> for Gate<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = Response<GatedBody<Out>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let place = request.extensions().get::<Arc<Place>>().cloned();
        let turn = Turn::take(&self.layer.under_way, place);
        if let Err((reason, status)) = turn.check(request.headers()) {
            turn.refuse(reason);
            return Box::pin(async move { Ok(status.into_http()) });
        }
        let answer = tokio::time::timeout(self.layer.longest, self.inner.call(request));
        let longest = self.layer.longest;
        Box::pin(async move {
            let Ok(answer) = answer.await else {
                turn.refuse(Refusal::SlowRequest);
                let text =
                    format!("the request was not whole and answered within {longest:?}: send it faster");
                return Ok(Status::deadline_exceeded(text).into_http());
            };
            let answer = answer?;
            if let Some(reason) = refused(answer.headers()) {
                turn.refuse(reason);
            }
            Ok(answer.map(|body| GatedBody { body: Some(body), _turn: Some(turn) }))
        })
    }
}

/// What an answer that is an error from the start refused. **None**: nothing, or something that is no
/// matter of bounds and rights.
fn refused(headers: &HeaderMap) -> Option<Refusal> {
    let code = Code::from_bytes(headers.get(Status::GRPC_STATUS)?.as_bytes());
    match code {
        Code::Unauthenticated | Code::PermissionDenied => Some(Refusal::Unauthenticated),
        // The library's word for a message above the limit, and the receiver's for figures that are.
        Code::OutOfRange | Code::InvalidArgument => Some(Refusal::BodyTooLarge),
        Code::ResourceExhausted => Some(Refusal::Busy),
        _ => None,
    }
}

/// A request under way.
#[derive(Debug)]
struct Turn {
    under_way: Arc<AtomicUsize>,
    /// With this one.
    count: usize,
    /// **None**: the request came from a test.
    place: Option<Arc<Place>>,
}

impl Turn {
    fn take(under_way: &Arc<AtomicUsize>, place: Option<Arc<Place>>) -> Self {
        if let Some(place) = &place {
            place.begin();
        }
        let count = under_way.fetch_add(1, Ordering::Relaxed) + 1;
        Self { under_way: Arc::clone(under_way), count, place }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), (Refusal, Status)> {
        if self.count > MAX_REQUESTS {
            let text = format!("{MAX_REQUESTS} requests are under way here: try again later");
            return Err((Refusal::Busy, Status::resource_exhausted(text)));
        }
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        if bytes > MAX_HEAD {
            let text = format!("{bytes} bytes of metadata: send at most {MAX_HEAD}");
            return Err((Refusal::HeadTooLarge, Status::resource_exhausted(text)));
        }
        Ok(())
    }

    fn refuse(&self, reason: Refusal) {
        if let Some(place) = &self.place {
            place.refuse(reason);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        if let Some(place) = &self.place {
            place.end();
        }
    }
}

/// A response body that holds its request's turn. The default one is empty.
#[derive(Debug)]
pub(super) struct GatedBody<B> {
    body: Option<B>,
    _turn: Option<Turn>,
}

impl<B> Default for GatedBody<B> {
    fn default() -> Self {
        Self { body: None, _turn: None }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for GatedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turn_beyond_the_most_is_refused_and_one_that_ends_makes_room() {
        let under_way = Arc::new(AtomicUsize::new(MAX_REQUESTS - 1));
        let last = Turn::take(&under_way, None);
        assert!(last.check(&HeaderMap::new()).is_ok());
        let (reason, status) = Turn::take(&under_way, None).check(&HeaderMap::new()).unwrap_err();
        assert_eq!((reason, status.code()), (Refusal::Busy, Code::ResourceExhausted));
        drop(last);
        assert!(Turn::take(&under_way, None).check(&HeaderMap::new()).is_ok());
        assert_eq!(under_way.load(Ordering::Relaxed), MAX_REQUESTS - 1);
    }

    #[test]
    fn large_head_is_refused_with_its_size() {
        let mut headers = HeaderMap::new();
        headers.insert("x", "y".repeat(MAX_HEAD).parse().unwrap());
        let (reason, status) = Turn::take(&Arc::default(), None).check(&headers).unwrap_err();
        assert_eq!(reason, Refusal::HeadTooLarge);
        assert!(status.message().contains("16417") && status.message().contains("16384"), "{status}");
    }

    #[test]
    fn only_errors_about_bounds_and_rights_are_refusals() {
        let of = |status: Status| refused(status.into_http::<()>().headers());
        assert_eq!(of(Status::unauthenticated("who?")), Some(Refusal::Unauthenticated));
        assert_eq!(of(Status::out_of_range("large")), Some(Refusal::BodyTooLarge));
        assert_eq!(of(Status::unimplemented("what?")), None);
        assert_eq!(refused(&HeaderMap::new()), None);
    }
}
