//! One request through the forwarder: route, hold, send, time, answer.

use super::{Forwarder, pump};
use crate::clock;
use crate::grpc::{self, Code, HOP_HEADER};
use crate::upstream::Checkout;
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderValue, Request, Response, Uri};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A response head from upstream, with what it cost.
struct Answered {
    response: Response<RecvStream>,
    upstream: Duration,
    connect: Option<Duration>,
    /// Keeps the request's body flowing while the response is streamed back.
    sending: AbortOnDrop,
    /// Keeps the connection counted as used until the response is through.
    checkout: Checkout,
}

/// Why this hop answers by itself.
struct Refused {
    code: Code,
    why: String,
}

/// A task that ends with its owner: a request nobody waits for is not sent on.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Forwarder {
    /// From the arrival of the headers to the end of the response.
    pub(super) async fn forward(
        self: Arc<Self>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        arrived: Instant,
    ) {
        let exchanged = tokio::select! {
            exchanged = self.exchange(request) => exchanged,
            // The downstream gave up: dropping the exchange resets the upstream stream too.
            _ = poll_fn(|cx| respond.poll_reset(cx)) => {
                self.cancelled.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let sent = match exchanged {
            Ok(answered) => self.stream_back(answered, respond, arrived).await,
            Err(refused) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                let mut response =
                    grpc::failure(refused.code, &format!("{}: {}", self.options.name, refused.why));
                self.append_hop(response.headers_mut(), arrived, None, None);
                respond.send_response(response, true).map(|_| ())
            }
        };
        if let Err(error) = sent {
            tracing::debug!("{}: response: {error}", self.options.name);
        }
    }

    /// Sends the request on and waits for the response's headers.
    async fn exchange(&self, request: Request<RecvStream>) -> Result<Answered, Refused> {
        let refuse = |code, why| Refused { code, why };
        let routes = &self.options.routes;
        let upstream = routes.find(request.headers()).ok_or_else(|| {
            refuse(Code::Unimplemented, format!("no route for {}", routes.asked(request.headers())))
        })?;
        let address = upstream.address();
        let held = Duration::from_micros(self.request_delay_us.load(Ordering::Relaxed));
        clock::sleep(held)
            .await
            .map_err(|error| refuse(Code::ResourceExhausted, format!("timer: {error}")))?;

        let forwarded = Instant::now();
        let waiting = async {
            let unavailable = |reason: &dyn std::fmt::Display| {
                refuse(Code::Unavailable, format!("upstream {address}: {reason}"))
            };
            let mut checkout = upstream.checkout().await.map_err(|error| unavailable(&error.reason))?;
            let connect = checkout.connect;
            let (mut head, body) = request.into_parts();
            head.uri = absolute(&head.uri);
            head.version = http::Version::HTTP_2;
            let ends = body.is_end_stream();
            let sent = checkout.requests.send_request(Request::from_parts(head, ()), ends);
            let (response, stream) = sent.map_err(|error| unavailable(&error))?;
            let timeout = self.options.upstream_timeout;
            let sending = AbortOnDrop(tokio::spawn(async move {
                if !ends {
                    pump::run(body, stream, timeout).await;
                }
            }));
            let response = response.await.map_err(|error| unavailable(&error))?;
            Ok(Answered { response, upstream: forwarded.elapsed(), connect, sending, checkout })
        };
        tokio::time::timeout(self.options.upstream_timeout, waiting).await.unwrap_or_else(|_| {
            let limit = self.options.upstream_timeout;
            Err(refuse(Code::DeadlineExceeded, format!("upstream {address}: no answer within {limit:?}")))
        })
    }

    /// Passes headers, body and trailers of the response on.
    async fn stream_back(
        &self,
        answered: Answered,
        mut respond: SendResponse<Bytes>,
        arrived: Instant,
    ) -> Result<(), h2::Error> {
        let Answered { response, upstream, connect, sending, checkout } = answered;
        let (mut head, body) = response.into_parts();
        let ends = body.is_end_stream();
        self.append_hop(&mut head.headers, arrived, Some(upstream), connect);
        let stream = respond.send_response(Response::from_parts(head, ()), ends)?;
        if !ends {
            pump::run(body, stream, self.options.upstream_timeout).await;
        }
        drop((sending, checkout));
        Ok(())
    }

    /// Appends this hop's value, unless it is silent: `append` puts it behind those of the hops it
    /// answers for.
    fn append_hop(
        &self,
        headers: &mut http::HeaderMap,
        arrived: Instant,
        upstream: Option<Duration>,
        connect: Option<Duration>,
    ) {
        if self.options.silent {
            return;
        }
        let value = hop_value(&self.options.name, arrived.elapsed(), upstream, connect);
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.append(HOP_HEADER, value);
        }
    }
}

/// `NAME;d=1.234;u=0.987;c=0.100`: milliseconds down to the microsecond, absent parts left out.
fn hop_value(name: &str, d: Duration, u: Option<Duration>, c: Option<Duration>) -> String {
    let mut text = name.to_owned();
    for (key, part) in [("d", Some(d)), ("u", u), ("c", c)] {
        if let Some(part) = part {
            let us = part.as_micros();
            text.push_str(&format!(";{key}={}.{:03}", us / 1000, us % 1000));
        }
    }
    text
}

/// The URI with scheme and authority, which HTTP/2 requires of a client; a downstream that sent
/// neither loses nothing by a name that says so.
fn absolute(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.scheme.get_or_insert(http::uri::Scheme::HTTP);
    parts.authority.get_or_insert(http::uri::Authority::from_static("unnamed.invalid"));
    parts.path_and_query.get_or_insert(http::uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_value_has_microseconds_and_leaves_out_what_did_not_happen() {
        let us = Duration::from_micros;
        assert_eq!(
            hop_value("gw", us(12_034), Some(us(11_000)), Some(us(7))),
            "gw;d=12.034;u=11.000;c=0.007"
        );
        assert_eq!(hop_value("gw", us(999), None, None), "gw;d=0.999");
    }
}
