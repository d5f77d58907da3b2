//! The stream of a health watch: opening it on a connection, and hearing what comes until it breaks.

use super::frames::{Compressed, FrameReader};
use super::watch::PING_EVERY;
use crate::collect::probe::call::{RequestHead, noting_wait, send_body};
use crate::collect::probe::connect::{Attempt, Ended, NotOpened, end_reason};
use crate::collect::probe::event_log::EventLog;
use crate::collect::probe::failure;
use crate::collect::probe::message::{BadReply, encode_request};
use crate::collect::probe::ping::PingPolicy;
use crate::collect::probe::slots::Session;
use crate::collect::tls::RouteTls;
use crate::model::health::ServingState;
use crate::model::outcome::{Failure, FailureClass, FailurePhase, GrpcStatus};
use crate::model::plan::ProbePlan;
use crate::model::sample::Phases;
use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Response, StatusCode};
use prost::Message;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::{MissedTickBehavior, timeout, timeout_at};
use tonic_health::pb::HealthCheckResponse;
use tonic_health::pb::health_check_response::ServingStatus;

/// Longest piece of a stream that is read: a state takes seven bytes, with its frame.
const MESSAGE_MOST: usize = 64 * 1024;

/// A connection for a watch.
pub(super) struct Line(pub(super) Session);

/// A stream that stands. Dropping it resets it.
pub(super) struct Standing {
    body: RecvStream,
    /// Its other half, on which all is said.
    _sent: SendStream<Bytes>,
    reader: FrameReader,
    states: Vec<ServingState>,
    http: StatusCode,
    headers: HeaderMap,
}

/// Where a watch is.
struct Place<'a> {
    plan: &'a ProbePlan,
    ended: &'a Ended,
    phase: FailurePhase,
}

impl Place<'_> {
    fn broken(&self, error: &h2::Error) -> Failure {
        match end_reason(self.ended).filter(|_| error.reason().is_none()) {
            Some(reason) => failure::gone_away(self.plan, self.phase, reason),
            None => failure::stream(self.plan, self.phase, error),
        }
    }

    fn unreadable(&self, what: &str) -> Failure {
        failure::bad_reply(self.plan, &BadReply::Unreadable(what.to_owned()))
    }
}

impl Line {
    /// Opens a connection before the attempt's deadline.
    pub(super) async fn open(
        attempt: Attempt<'_>,
        tls: Option<&RouteTls>,
        events: &Arc<EventLog>,
    ) -> Result<Self, Failure> {
        let opened = Session::open(attempt, tls, events).await;
        opened.map(|(session, _)| Self(session)).map_err(|NotOpened { failure, .. }| failure)
    }

    /// Whether no other stream can be opened on it.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_over() || self.0.clock.goaway().is_some()
    }

    /// Opens the stream and waits for its first message, until deadline and drain have passed.
    pub(super) async fn watch(
        &self,
        plan: &ProbePlan,
        head: &RequestHead,
        phases: &mut Phases,
    ) -> Result<Standing, Failure> {
        let start = Instant::now();
        let _asking = self.0.clock.asking();
        let mut phase = FailurePhase::Request;
        let opening = self.open_stream(plan, head, start, phases, &mut phase);
        match timeout_at((start + plan.deadline + plan.drain).into(), opening).await {
            Ok(opened) => opened,
            Err(_) => Err(failure::deadline(plan, phase, self.0.clock.read_after(start))),
        }
    }

    async fn open_stream(
        &self,
        plan: &ProbePlan,
        head: &RequestHead,
        start: Instant,
        phases: &mut Phases,
        phase: &mut FailurePhase,
    ) -> Result<Standing, Failure> {
        let at = |phase| Place { plan, ended: &self.0.ended, phase };
        let requesting = at(FailurePhase::Request);
        let (send, blocked) = noting_wait(self.0.send.clone().ready()).await;
        let mut send = send.map_err(|error| requesting.broken(&error))?;
        let sent = send.send_request(head.request(), false);
        let (response, mut stream) = sent.map_err(|error| requesting.broken(&error))?;
        let body = encode_request(&plan.call, 0);
        tokio::pin!(response);
        let early = tokio::select! {
            biased;
            sent = send_body(&mut stream, body, &self.0.clock) => {
                sent.map_err(|error| requesting.broken(&error))?;
                None
            }
            early = &mut response => Some(early),
        };
        let queued = Instant::now();
        *phase = FailurePhase::Wait;
        let answer = match early {
            Some(answer) => answer,
            None => response.await,
        };
        let answer = answer.map_err(|error| at(FailurePhase::Wait).broken(&error))?;
        let looked = Instant::now();
        let began = if blocked { start } else { self.0.clock.wrote_after(start).unwrap_or(start) };
        let answered = self.0.clock.arrived(began).filter(|at| *at <= looked).unwrap_or(looked);
        let written = self.0.clock.flushed_after(queued).unwrap_or(queued).min(answered);
        phases.request = Some(written.saturating_duration_since(began));
        phases.wait = Some(answered.saturating_duration_since(written.max(began)));
        *phase = FailurePhase::Response;
        let (parts, body) = Response::into_parts(answer);
        let mut standing = Standing {
            body,
            _sent: stream,
            reader: FrameReader::new(true),
            states: Vec::new(),
            http: parts.status,
            headers: parts.headers,
        };
        while standing.states.is_empty() {
            standing.hear(&at(FailurePhase::Response)).await?;
        }
        let looked = Instant::now();
        let came = self.0.clock.arrived(answered).filter(|at| *at <= looked).unwrap_or(looked);
        phases.response = Some(came.saturating_duration_since(answered));
        Ok(standing)
    }
}

impl Standing {
    /// What was told since the last call.
    pub(super) fn take_states(&mut self) -> Vec<ServingState> {
        std::mem::take(&mut self.states)
    }

    /// Hears what is told until the stream breaks, and gives the reason. Cancelling ends the stream.
    pub(super) async fn follow(
        &mut self,
        plan: &ProbePlan,
        line: &Line,
        pings: &PingPolicy,
        told: impl Fn(ServingState),
    ) -> Failure {
        let place = Place { plan, ended: &line.0.ended, phase: FailurePhase::Response };
        let every = plan.interval.max(PING_EVERY);
        let mut due = tokio::time::interval_at((Instant::now() + every).into(), every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                heard = self.hear(&place) => {
                    if let Err(broken) = heard {
                        return broken;
                    }
                    self.take_states().into_iter().for_each(&told);
                }
                _ = due.tick(), if plan.ping => {
                    if pings.allowed().is_err() {
                        continue;
                    }
                    // What is told meanwhile waits for it, a round trip long; a peer that is gone is never heard.
                    let asked = Instant::now();
                    if timeout(plan.deadline, line.0.pinger.round_trip()).await.is_err()
                        && !line.0.clock.read_after(asked)
                    {
                        return failure::ping_deadline(plan);
                    }
                }
            }
        }
    }

    /// Waits for the next piece of the stream. Cancelling loses nothing.
    async fn hear(&mut self, place: &Place<'_>) -> Result<(), Failure> {
        let Some(piece) = self.body.data().await else { return Err(self.ended(place).await) };
        let piece = piece.map_err(|error| place.broken(&error))?;
        // A closed stream takes no more, and its end is told by the next piece.
        let _ = self.body.flow_control().release_capacity(piece.len());
        if piece.len() > MESSAGE_MOST {
            return Err(failure::too_large(place.plan, MESSAGE_MOST));
        }
        let mut bad = None;
        let states = &mut self.states;
        let fed = self.reader.feed(&piece, |message| {
            match HealthCheckResponse::decode(message) {
                Ok(response) => states.push(state(response.status())),
                Err(error) => bad = Some(error.to_string()),
            }
            true
        });
        if let Err(Compressed) = fed {
            return Err(place.unreadable("a message is compressed, although no encoding was offered"));
        }
        match bad {
            Some(error) => Err(place.unreadable(&error)),
            None => Ok(()),
        }
    }

    /// Why there is nothing more to be heard.
    async fn ended(&mut self, place: &Place<'_>) -> Failure {
        let trailers = match self.body.trailers().await {
            Ok(trailers) => trailers,
            Err(error) => return place.broken(&error),
        };
        match failure::judge(place.plan, self.http, &self.headers, trailers.as_ref()) {
            Err(failure) => failure,
            Ok(()) => Failure {
                status: GrpcStatus::Unavailable,
                class: FailureClass::Status,
                phase: FailurePhase::Response,
                detail: format!(
                    "call {} through {}: the service ended the stream with OK: see whether it is shutting down",
                    place.plan.call.method(),
                    failure::place(place.plan)
                ),
            },
        }
    }
}

fn state(status: ServingStatus) -> ServingState {
    match status {
        ServingStatus::Unknown => ServingState::Unknown,
        ServingStatus::Serving => ServingState::Serving,
        ServingStatus::NotServing => ServingState::NotServing,
        ServingStatus::ServiceUnknown => ServingState::ServiceUnknown,
    }
}
