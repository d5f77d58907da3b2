//! A small gRPC caller: one unary call, everything it brought back. For the load generator and
//! for tests that look at a hop from outside; the instrument under test has its own.

use crate::grpc;
use crate::upstream::Upstream;
use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// `grpc.health.v1.Health/Check`, which every service of the lab answers.
pub const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// The lab's own unary method: any request, an empty response.
pub const WORK: &str = "/insight.lab.v1.Work/Do";
/// The lab's own streaming method: any request, as many messages as its metadata asks for.
pub const STREAM: &str = "/insight.lab.v1.Work/Stream";

/// Calls one address over connections of its own.
pub struct Caller {
    upstream: Upstream,
}

/// What came back, trailers included.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub http_status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// Message bytes as they came, prefix included.
    pub body: Bytes,
    /// Trailers; empty when the response had none.
    pub trailers: HeaderMap,
    /// From the call to the response headers.
    pub to_headers: Duration,
    /// From the call to the end of the response.
    pub total: Duration,
}

impl Reply {
    /// `grpc-status` from the trailers or, for a failure in one frame, from the headers; `None`
    /// when a proxy answered without one.
    pub fn grpc_status(&self) -> Option<u16> {
        grpc::status(&self.trailers).or_else(|| grpc::status(&self.headers))
    }

    /// `grpc-message`, or nothing.
    pub fn grpc_message(&self) -> &str {
        [&self.trailers, &self.headers]
            .into_iter()
            .find_map(|headers| headers.get(grpc::MESSAGE)?.to_str().ok())
            .unwrap_or_default()
    }

    /// The hops' values, the innermost hop first.
    pub fn hops(&self) -> Vec<String> {
        grpc::hop_values(&self.headers)
    }
}

impl Caller {
    /// Calls `address` over at most `connections` connections, opened when first needed.
    pub fn new(address: SocketAddr, connections: usize) -> Caller {
        Caller { upstream: Upstream::new(address, connections) }
    }

    /// One unary call of `path` with an empty request message.
    ///
    /// # Errors
    /// No connection, a stream or connection error, or no complete answer within `deadline`. A
    /// gRPC failure is a [`Reply`], not an error.
    pub async fn call(&self, path: &str, metadata: &[(&str, &str)], deadline: Duration) -> Result<Reply> {
        self.call_with(path, metadata, grpc::framed(b""), deadline).await
    }

    /// As [`Caller::call`], with request bytes that carry their prefix already.
    ///
    /// # Errors
    /// As [`Caller::call`].
    pub async fn call_with(
        &self,
        path: &str,
        metadata: &[(&str, &str)],
        body: Bytes,
        deadline: Duration,
    ) -> Result<Reply> {
        let what = || format!("call {}{path}", self.upstream.address());
        tokio::time::timeout(deadline, self.exchange(path, metadata, body))
            .await
            .with_context(|| format!("{}: no answer within {deadline:?}", what()))?
            .with_context(what)
    }

    async fn exchange(&self, path: &str, metadata: &[(&str, &str)], mut body: Bytes) -> Result<Reply> {
        let start = Instant::now();
        let mut checkout = self
            .upstream
            .checkout()
            .await
            .map_err(|error| anyhow::anyhow!("connect {}: {}", self.upstream.address(), error.reason))?;
        let mut request = Request::post(format!("http://insight-lab{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        for (key, value) in metadata {
            request.headers_mut().append(HeaderName::try_from(*key)?, HeaderValue::try_from(*value)?);
        }
        let (response, mut stream) = checkout.requests.send_request(request, false)?;
        let sending = async {
            loop {
                stream.reserve_capacity(body.len());
                let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                let granted = granted.context("the stream was closed while sending")??;
                let part = body.split_to(granted.min(body.len()));
                stream.send_data(part, body.is_empty())?;
                if body.is_empty() {
                    return anyhow::Ok(());
                }
            }
        };
        let receiving = async {
            let response = response.await?;
            let to_headers = start.elapsed();
            let (head, mut stream) = response.into_parts();
            let mut body = BytesMut::new();
            while let Some(chunk) = stream.data().await {
                let chunk = chunk?;
                stream.flow_control().release_capacity(chunk.len())?;
                body.extend_from_slice(&chunk);
            }
            let trailers = stream.trailers().await?.unwrap_or_default();
            anyhow::Ok((to_headers, head, body, trailers))
        };
        // At once: the answer to a large request may begin long before its end. A hop that
        // answers by itself stops reading the request; then its answer counts.
        let (sent, received) = tokio::join!(sending, receiving);
        let (to_headers, head, body, trailers) = match (sent, received) {
            (_, Ok(received)) => received,
            (Err(error), Err(_)) | (Ok(()), Err(error)) => return Err(error),
        };
        Ok(Reply {
            http_status: head.status.as_u16(),
            headers: head.headers,
            body: body.freeze(),
            trailers,
            to_headers,
            total: start.elapsed(),
        })
    }
}
