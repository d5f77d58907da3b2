//! When did a request arrive, and how long did answering it take, trailers included?
//!
//! A layer outside of every service: it sees the request's headers before anything of the body is
//! read, and the response's trailers as the last thing that is written.

use crate::model::sample::SERVICE_TRAILER;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tower::{Layer, Service};

/// The moment at which the request's headers reached the RPC server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived(pub Instant);

/// Adds [`Arrived`] to requests, and [`SERVICE_TRAILER`] to the trailers of their responses.
#[derive(Debug, Clone, Copy)]
pub(super) struct StampLayer;

impl<S> Layer<S> for StampLayer {
    type Service = Stamp<S>;

    fn layer(&self, inner: S) -> Stamp<S> {
        Stamp { inner }
    }
}

/// See [`StampLayer`].
#[derive(Debug, Clone)]
pub(super) struct Stamp<S> {
    inner: S,
}

impl<S, In, Out> Service<Request<In>> for Stamp<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = Response<StampedBody<Out>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        let arrived = Instant::now();
        request.extensions_mut().insert(Arrived(arrived));
        let answer = self.inner.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| StampedBody { body, arrived })) })
    }
}

/// A response body whose trailers carry the receiver's duration.
#[derive(Debug)]
pub(super) struct StampedBody<B> {
    body: B,
    arrived: Instant,
}

impl<B: Body<Data = Bytes> + Unpin> Body for StampedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            trailers.insert(SERVICE_TRAILER, trailer(self.arrived.elapsed()));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// `d=<milliseconds>` with nanosecond digits, so that its resolution reads as it is.
fn trailer(duration: Duration) -> HeaderValue {
    let ns = duration.as_nanos();
    HeaderValue::try_from(format!("d={}.{:06}", ns / 1_000_000, ns % 1_000_000))
        .expect("digits, a dot and `d=` are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailer_counts_milliseconds_with_nanosecond_digits() {
        assert_eq!(trailer(Duration::from_nanos(12_000_345)), "d=12.000345");
        assert_eq!(trailer(Duration::ZERO), "d=0.000000");
    }
}
