//! One RPC on an open connection: request, wait and response, and what came back.

use super::calls::{answer, stream};
use super::clocked_io::IoClock;
use super::connect::{Ended, end_reason};
use super::failure;
use super::hop_headers::{parse_service_trailer, read_hop_evidence};
use super::message::{BadReply, FRAME_BYTES, Reply, decode_reply, encode_request, frame_bytes};
use crate::model::connection_event::EventReason;
use crate::model::hop::HopEvidence;
use crate::model::method::Method;
use crate::model::outcome::{Failure, FailurePhase, GrpcStatus};
use crate::model::plan::{Call, Mode, ProbePlan};
use crate::model::sample::{Answer, Phases, SERVICE_TRAILER, ServiceTiming};
use crate::model::series::lost::Loss;
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// The reserved key that marks probe traffic for gateways and services.
const PROBE_MARK: &str = "x-insight-probe";
/// Bytes of an answer that are read at most, beyond the payload that was asked for: the largest message
/// that gRPC implementations take by default.
pub(super) const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// A request that is held for longer by the peer's window is counted as stalled. Below lies what it takes
/// until a new stream is opened, which happens in another task.
const STALL: Duration = Duration::from_millis(5);

/// The parts of a request that are the same for every sample of a probe.
#[derive(Debug, Clone)]
pub(super) struct RequestHead {
    uri: Uri,
    headers: HeaderMap,
    /// Of a method that is asked in JSON, once its messages are known.
    pub(super) method: Option<Arc<Method>>,
    /// Whether the answers' messages are kept for whoever looks at the sample.
    pub(super) keep_answers: bool,
}

/// A plan that cannot be put into HTTP/2.
#[derive(Debug, thiserror::Error)]
#[error("probe {probe:?}: {what} = {value:?}: {why}: correct it")]
pub struct HeadError {
    probe: String,
    what: String,
    value: String,
    why: String,
}

impl HeadError {
    /// Of a plan whose `what` has this value.
    pub(super) fn new(plan: &ProbePlan, what: &str, value: &str, why: &dyn std::fmt::Display) -> Self {
        let (what, value) = (what.to_owned(), value.to_owned());
        Self { probe: plan.name.clone(), what, value, why: why.to_string() }
    }
}

impl RequestHead {
    /// Builds the head once, so that a sample only clones it.
    pub(super) fn new(plan: &ProbePlan) -> Result<Self, HeadError> {
        let bad =
            |what: &str, value: &str, why: &dyn std::fmt::Display| HeadError::new(plan, what, value, why);
        let route = &plan.route;
        let uri = Uri::builder()
            .scheme(if route.tls.is_some() { "https" } else { "http" })
            .authority(route.authority.as_str())
            .path_and_query(plan.call.method())
            .build()
            .map_err(|error| bad("authority and method", &route.authority, &error))?;
        let mut headers = HeaderMap::new();
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        let agent = concat!("insight-agent/", env!("CARGO_PKG_VERSION"));
        headers.insert("user-agent", HeaderValue::from_static(agent));
        headers.insert(PROBE_MARK, HeaderValue::from_static("1"));
        // Hops may give up when nobody listens any more, and not a moment earlier: an answer
        // that comes late shall be seen with its true duration.
        let patience = (plan.deadline + plan.drain).as_millis().min(99_999_999);
        // A watch stays for as long as it can.
        if !matches!(plan.call, Call::HealthWatch { .. }) {
            headers.insert(
                "grpc-timeout",
                HeaderValue::try_from(format!("{patience}m")).expect("digits are visible ASCII"),
            );
        }
        for (key, value) in &route.metadata {
            let name = HeaderName::try_from(key).map_err(|error| bad("metadata key", key, &error))?;
            let value = HeaderValue::try_from(value)
                .map_err(|error| bad(&format!("metadata {key:?}"), value, &error))?;
            headers.append(name, value);
        }
        Ok(Self { uri, headers, method: None, keep_answers: false })
    }

    /// The framed request of a sample.
    fn body(&self, call: &Call, sequence: u64) -> Bytes {
        match &self.method {
            Some(method) => frame_bytes(method.request()),
            None => encode_request(call, sequence),
        }
    }

    pub(super) fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// How an RPC went.
#[derive(Debug)]
pub(super) struct CallEnd {
    /// RPC phases only; as far as they were reached.
    pub(super) phases: Phases,
    pub(super) result: Result<(), Failure>,
    pub(super) hops: HopEvidence,
    pub(super) service: Option<ServiceTiming>,
    pub(super) answer: Answer,
    /// The serialised message of a unary answer.
    pub(super) message: Bytes,
    pub(super) losses: Vec<(&'static str, Loss)>,
    /// The server promised that it did not look at the request.
    pub(super) unprocessed: bool,
    /// Nothing at all was read from the connection while the RPC was under way.
    pub(super) silent: bool,
    /// Wait and response ended when the kernel had the bytes, and not when this thread looked.
    pub(super) stamped: bool,
}

/// How far an RPC has come.
#[derive(Debug, Default)]
struct Progress {
    /// When the whole request had been handed to the connection.
    queued: Option<Instant>,
    answered: bool,
}

impl Progress {
    fn phase(&self, clock: &IoClock) -> FailurePhase {
        match self.queued {
            _ if self.answered => FailurePhase::Response,
            Some(queued) if clock.flushed_after(queued).is_some() => FailurePhase::Wait,
            _ => FailurePhase::Request,
        }
    }
}

/// Makes the plan's RPC; gives up at `give_up`, which resets the stream. `ended` is how the
/// connection ended, once it has.
pub(super) async fn call(
    plan: &ProbePlan,
    head: &RequestHead,
    send: SendRequest<Bytes>,
    clock: &IoClock,
    ended: &Ended,
    sequence: u64,
    give_up: Instant,
) -> CallEnd {
    let start = Instant::now();
    let mut end = CallEnd {
        phases: Phases::default(),
        result: Ok(()),
        hops: HopEvidence::default(),
        service: None,
        answer: Answer::default(),
        message: Bytes::new(),
        losses: Vec::new(),
        unprocessed: false,
        silent: false,
        stamped: false,
    };
    let _asking = clock.asking();
    let mut progress = Progress::default();
    let request = Sending { plan, head, clock, sequence, start };
    let result = timeout_at(give_up.into(), exchange(request, send, &mut progress, &mut end)).await;
    let phase = progress.phase(clock);
    end.silent = !clock.read_after(start);
    end.result = match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Broken::Stream(error))) => {
            end.unprocessed = failure::is_unprocessed(&error);
            // h2 tells a stream only that the connection broke; why stands in the GOAWAY before.
            Err(match end_reason(ended).filter(|_| error.reason().is_none()) {
                Some(reason) => failure::gone_away(plan, phase, reason),
                None => failure::stream(plan, phase, &error),
            })
        }
        Ok(Err(Broken::Answer(failure))) => Err(failure),
        Err(_) => Err(failure::deadline(plan, phase, !end.silent)),
    };
    end
}

/// Why an exchange ended early.
pub(super) enum Broken {
    Stream(h2::Error),
    Answer(Failure),
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Self {
        Self::Stream(error)
    }
}

/// What an exchange sends, and from when on it is timed.
struct Sending<'a> {
    plan: &'a ProbePlan,
    head: &'a RequestHead,
    clock: &'a IoClock,
    sequence: u64,
    start: Instant,
}

async fn exchange(
    sending: Sending<'_>,
    send: SendRequest<Bytes>,
    progress: &mut Progress,
    end: &mut CallEnd,
) -> Result<(), Broken> {
    let Sending { plan, head, clock, sequence, start } = sending;
    let (send, blocked) = noting_wait(send.ready()).await;
    let mut send = send?;
    let (response, mut stream) = send.send_request(head.request(), false)?;
    let body = head.body(&plan.call, sequence);
    tokio::pin!(response);
    // A server may answer before it has read everything; then the rest is not sent.
    let early = tokio::select! {
        biased;
        sent = send_body(&mut stream, body, clock) => { sent?; None }
        early = &mut response => Some(early?),
    };
    let queued = Instant::now();
    progress.queued = Some(queued);
    let answer = match early {
        Some(answer) => answer,
        None => response.await?,
    };
    let looked = Instant::now();
    progress.answered = true;
    // What this process does before it writes is no part of the path, unless it had to wait for the peer.
    let began = if blocked { start } else { clock.wrote_after(start).unwrap_or(start) };
    let arrived = clock.arrived(began).filter(|arrived| *arrived <= looked);
    let answered = arrived.unwrap_or(looked);
    let written = clock.flushed_after(queued).unwrap_or(queued).min(answered);
    end.phases.request = Some(written.saturating_duration_since(began));
    end.phases.wait = Some(answered - written.max(began));

    let (parts, body) = Response::into_parts(answer);
    let read = match &head.method {
        Some(method) if method.is_streaming() => {
            let reading = stream::Reading { plan, keeps: answer::wants_messages(head), clock, began };
            reading.read(body, answered, &mut end.answer.stream).await
        }
        _ => read_body(plan, body).await,
    };
    let Read { messages, body, trailers, ended } = match read {
        Ok(read) => read,
        Err(error) => {
            end.hops = read_hop_evidence(&parts.headers, None, &plan.route);
            return Err(error);
        }
    };
    let looked = Instant::now();
    let ended = ended.or_else(|| clock.arrived(answered).filter(|ended| *ended <= looked));
    end.phases.response = Some(ended.unwrap_or(looked).saturating_duration_since(answered));
    end.stamped = arrived.is_some() && ended.is_some();
    end.hops = read_hop_evidence(&parts.headers, trailers.as_ref(), &plan.route);
    let metadata =
        answer::Metadata { http: parts.status, headers: &parts.headers, trailers: trailers.as_ref() };
    let cut = end.answer.stream.is_some_and(|stream| stream.cut);
    end.answer.status = answer::judge(plan, head, &metadata, cut).map_err(Broken::Answer)?;
    if end.answer.status != GrpcStatus::Ok {
        // An error that is expected comes without a message.
        return Ok(());
    }
    if end.answer.stream.is_some() {
        return answer::read_messages(plan, head, &messages, &mut end.answer).map_err(Broken::Answer);
    }
    match decode_reply(&plan.call, sequence, &body) {
        Ok(Reply::Good) => {
            end.message = body.slice(FRAME_BYTES..);
            let messages = [end.message.clone()];
            answer::read_messages(plan, head, &messages, &mut end.answer).map_err(Broken::Answer)?;
        }
        Ok(Reply::Measured(timing)) => end.service = Some(timing),
        Err(bad) => {
            if matches!(bad, BadReply::Mismatched { .. }) {
                end.losses.push(("service_timing", Loss::Mismatched));
            }
            return Err(Broken::Answer(failure::bad_reply(plan, &bad)));
        }
    }
    if plan.mode == Mode::WhiteBox {
        read_service_trailer(trailers.as_ref(), end);
    }
    Ok(())
}

fn read_service_trailer(trailers: Option<&HeaderMap>, end: &mut CallEnd) {
    let Some(timing) = &mut end.service else { return };
    match trailers.and_then(|trailers| trailers.get(SERVICE_TRAILER)) {
        None => end.losses.push(("service_timing", Loss::Missing)),
        Some(value) => {
            timing.receive_to_trailers = parse_service_trailer(value.as_bytes());
            if timing.receive_to_trailers.is_none() {
                end.losses.push(("service_timing", Loss::Malformed));
            }
        }
    }
}

/// Runs `work`, and tells whether it had to wait.
pub(super) async fn noting_wait<T>(work: impl Future<Output = T>) -> (T, bool) {
    let mut work = pin!(work);
    let mut waited = false;
    poll_fn(|cx| {
        let polled = work.as_mut().poll(cx);
        waited |= polled.is_pending();
        polled.map(|output| (output, waited))
    })
    .await
}

/// Hands the body to the connection as the peer's windows allow, and counts it if they do not at once.
pub(super) async fn send_body(
    stream: &mut SendStream<Bytes>,
    mut body: Bytes,
    clock: &IoClock,
) -> Result<(), h2::Error> {
    let mut stalled = false;
    loop {
        stream.reserve_capacity(body.len());
        let mut granted = pin!(poll_fn(|cx| stream.poll_capacity(cx)));
        let capacity = tokio::select! {
            biased;
            capacity = &mut granted => capacity,
            () = tokio::time::sleep(STALL), if !stalled => {
                stalled = true;
                clock.note_stall(EventReason::Http2Window);
                granted.await
            }
        };
        let Some(capacity) = capacity else {
            // The stream is closed for sending: what the peer says about it is the answer.
            return std::future::pending().await;
        };
        let chunk = body.split_to(capacity?.min(body.len()));
        let last = body.is_empty();
        stream.send_data(chunk, last)?;
        if last {
            return Ok(());
        }
    }
}

/// What was read behind an answer's headers.
#[derive(Default)]
pub(super) struct Read {
    /// A stream's messages, if they are wanted.
    pub(super) messages: Vec<Bytes>,
    /// Of a unary answer.
    pub(super) body: Bytes,
    pub(super) trailers: Option<HeaderMap>,
    /// When its last message came, if no more was waited for.
    pub(super) ended: Option<Instant>,
}

/// The whole body. A body beyond the bound is given up, which resets its stream.
async fn read_body(plan: &ProbePlan, mut body: RecvStream) -> Result<Read, Broken> {
    let asked_for = match &plan.call {
        Call::Measure { response_bytes, .. } => *response_bytes,
        _ => 0,
    };
    let bound = MAX_ANSWER_BYTES + asked_for;
    let mut read = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        if read.len() + chunk.len() > bound {
            return Err(Broken::Answer(failure::too_large(plan, bound)));
        }
        read.extend_from_slice(&chunk);
    }
    let trailers = body.trailers().await?;
    Ok(Read { body: read.freeze(), trailers, ..Read::default() })
}
