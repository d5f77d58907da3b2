//! One RPC on an open connection: request, wait and response, and what came back.

use super::ask::{Begun, Progress, ask};
use super::calls::{answer, stream};
use super::failure;
use super::hop_headers::{parse_service_trailer, read_hop_evidence};
use super::http2::{Break, Connection, Exchange, write_field};
use super::message::{BadReply, FRAME_BYTES, Reply, decode_reply, encode_request, frame_bytes};
use crate::model::hop::HopEvidence;
use crate::model::method::Method;
use crate::model::outcome::{Failure, GrpcStatus};
use crate::model::plan::{Call, Mode, ProbePlan};
use crate::model::sample::{Answer, Phases, SERVICE_TRAILER, ServiceTiming};
use crate::model::series::lost::Loss;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout_at;

/// The reserved key that marks probe traffic for gateways and services.
const PROBE_MARK: &str = "x-insight-probe";
/// Bytes of an answer that are read at most, beyond the payload that was asked for: the largest message
/// that gRPC implementations take by default.
pub(super) const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The parts of a request that are the same for every sample of a probe.
#[derive(Clone)]
pub(super) struct RequestHead {
    /// Its header fields as they are written.
    block: Bytes,
    /// Of a method that is asked in JSON, once its messages are known.
    pub(super) method: Option<Arc<Method>>,
    /// Whether the answers' messages are kept for whoever looks at the sample.
    pub(super) keep_answers: bool,
}

impl fmt::Debug for RequestHead {
    /// Metadata may be secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.block.len();
        formatter.debug_struct("RequestHead").field("bytes", &bytes).field("method", &self.method).finish()
    }
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
    pub(super) fn new(plan: &ProbePlan, what: &str, value: &str, why: &dyn fmt::Display) -> Self {
        let (what, value) = (what.to_owned(), value.to_owned());
        Self { probe: plan.name.clone(), what, value, why: why.to_string() }
    }
}

impl RequestHead {
    /// Writes the head once, for all samples on all connections.
    pub(super) fn new(plan: &ProbePlan) -> Result<Self, HeadError> {
        let bad = |what: &str, value: &str, why: &dyn fmt::Display| HeadError::new(plan, what, value, why);
        let route = &plan.route;
        let scheme = if route.tls.is_some() { "https" } else { "http" };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(route.authority.as_str())
            .path_and_query(plan.call.method())
            .build()
            .map_err(|error| bad("authority and method", &route.authority, &error))?;
        let mut block = Vec::new();
        let mut field = |name: &str, value: &[u8]| write_field(&mut block, name.as_bytes(), value);
        field(":method", b"POST");
        field(":scheme", scheme.as_bytes());
        field(":path", uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
        field(":authority", route.authority.as_bytes());
        field("te", b"trailers");
        field("content-type", b"application/grpc");
        field("user-agent", concat!("insight-agent/", env!("CARGO_PKG_VERSION")).as_bytes());
        field(PROBE_MARK, b"1");
        // Hops may give up when nobody listens any more, and not a moment earlier: an answer
        // that comes late shall be seen with its true duration.
        let patience = (plan.deadline + plan.drain).as_millis().min(99_999_999);
        // A watch stays for as long as it can.
        if !matches!(plan.call, Call::HealthWatch { .. }) {
            field("grpc-timeout", format!("{patience}m").as_bytes());
        }
        for (key, value) in &route.metadata {
            let name = HeaderName::try_from(key).map_err(|error| bad("metadata key", key, &error))?;
            let value = HeaderValue::try_from(value)
                .map_err(|error| bad(&format!("metadata {key:?}"), value, &error))?;
            field(name.as_str(), value.as_bytes());
        }
        Ok(Self { block: block.into(), method: None, keep_answers: false })
    }

    /// Its header fields as they are written.
    pub(super) fn block(&self) -> &[u8] {
        &self.block
    }

    /// The framed request of a sample.
    fn body(&self, call: &Call, sequence: u64) -> Bytes {
        match &self.method {
            Some(method) => frame_bytes(method.request()),
            None => encode_request(call, sequence),
        }
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

/// Makes the plan's RPC; gives up at `give_up`, which resets the stream.
pub(super) async fn call(
    plan: &ProbePlan,
    head: &RequestHead,
    connection: &Connection,
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
    let mut progress = Progress::default();
    let request = Sending { plan, head, connection, sequence };
    let result = timeout_at(give_up.into(), exchange(request, &mut progress, &mut end)).await;
    let phase = progress.phase();
    end.silent = !connection.read_after(start);
    end.result = match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Broken::Stream(why))) => {
            end.unprocessed = failure::is_unprocessed(&why);
            Err(failure::stream(plan, phase, &why))
        }
        Ok(Err(Broken::Answer(failure))) => Err(failure),
        Err(_) => Err(failure::deadline(plan, phase, !end.silent)),
    };
    end
}

/// Why an exchange ended early.
pub(super) enum Broken {
    Stream(Break),
    Answer(Failure),
}

impl From<Break> for Broken {
    fn from(why: Break) -> Self {
        Self::Stream(why)
    }
}

/// What an exchange sends, and where.
struct Sending<'a> {
    plan: &'a ProbePlan,
    head: &'a RequestHead,
    connection: &'a Connection,
    sequence: u64,
}

async fn exchange(sending: Sending<'_>, progress: &mut Progress, end: &mut CallEnd) -> Result<(), Broken> {
    let Sending { plan, head, connection, sequence } = sending;
    let body = head.body(&plan.call, sequence);
    let begun = ask(connection, head.block(), body, progress, &mut end.phases).await?;
    let Begun { answer: begun, began, answered, stamped } = begun;
    let exchange = progress.exchange();
    let read = match &head.method {
        Some(method) if method.is_streaming() => {
            let reading = stream::Reading { plan, keeps: answer::wants_messages(head), began };
            reading.read(exchange, answered, &mut end.answer.stream).await
        }
        _ => read_body(plan, exchange, answered).await,
    };
    let Read { messages, body, trailers, ended } = match read {
        Ok(read) => read,
        Err(error) => {
            end.hops = read_hop_evidence(&begun.headers, None, &plan.route);
            return Err(error);
        }
    };
    let (ended, end_is_stamped) = ended;
    end.phases.response = Some(ended.saturating_duration_since(answered));
    end.stamped = stamped && end_is_stamped;
    end.hops = read_hop_evidence(&begun.headers, trailers.as_ref(), &plan.route);
    let metadata =
        answer::Metadata { http: begun.status, headers: &begun.headers, trailers: trailers.as_ref() };
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

/// What was read behind an answer's headers.
pub(super) struct Read {
    /// A stream's messages, if they are wanted.
    pub(super) messages: Vec<Bytes>,
    /// Of a unary answer.
    pub(super) body: Bytes,
    pub(super) trailers: Option<HeaderMap>,
    /// When its end came, or its last message if no more was waited for; and whether the kernel says so.
    pub(super) ended: (Instant, bool),
}

/// The whole body. A body beyond the bound is given up, which resets its stream.
async fn read_body(plan: &ProbePlan, exchange: &mut Exchange, answered: Instant) -> Result<Read, Broken> {
    let asked_for = match &plan.call {
        Call::Measure { response_bytes, .. } => *response_bytes,
        _ => 0,
    };
    let bound = MAX_ANSWER_BYTES + asked_for;
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    while let Some(piece) = exchange.piece().await? {
        if first.len() + rest.len() + piece.bytes.len() > bound {
            return Err(Broken::Answer(failure::too_large(plan, bound)));
        }
        // Nearly all answers are one piece.
        if first.is_empty() {
            first = piece.bytes;
        } else {
            rest.extend_from_slice(&piece.bytes);
        }
    }
    let body = if rest.is_empty() { first } else { [first, rest.freeze()].concat().into() };
    let (trailers, ended) = exchange.end(answered);
    Ok(Read { messages: Vec::new(), body, trailers, ended })
}
