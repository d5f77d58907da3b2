//! The stream of a health watch: opening it on a connection, and hearing what comes until it breaks.

use super::frames::{Compressed, FrameReader};
use super::watch::PING_EVERY;
use crate::collect::probe::ask::{Progress, ask};
use crate::collect::probe::call::RequestHead;
use crate::collect::probe::failure;
use crate::collect::probe::http2::{Came, Connection, Exchange};
use crate::collect::probe::message::{BadReply, encode_request};
use crate::collect::probe::ping::PingPolicy;
use crate::model::health::ServingState;
use crate::model::outcome::{Failure, FailureClass, FailurePhase, GrpcStatus};
use crate::model::plan::ProbePlan;
use crate::model::sample::Phases;
use http::{HeaderMap, StatusCode};
use prost::Message;
use std::time::Instant;
use tokio::time::{MissedTickBehavior, timeout, timeout_at};
use tonic_health::pb::HealthCheckResponse;
use tonic_health::pb::health_check_response::ServingStatus;

/// Longest piece of a stream that is read: a state takes seven bytes, with its frame.
const MESSAGE_MOST: usize = 64 * 1024;

/// A stream that stands. Dropping it resets it.
pub(super) struct Standing {
    exchange: Exchange,
    reader: FrameReader,
    states: Vec<ServingState>,
    http: StatusCode,
    headers: HeaderMap,
}

/// Opens the stream and waits for its first message, until deadline and drain have passed.
pub(super) async fn open_stream(
    connection: &Connection,
    plan: &ProbePlan,
    head: &RequestHead,
    phases: &mut Phases,
) -> Result<Standing, Failure> {
    let start = Instant::now();
    let mut progress = Progress::default();
    let opening = first_state(connection, plan, head, phases, &mut progress);
    let opened = timeout_at((start + plan.deadline + plan.drain).into(), opening).await;
    opened.unwrap_or_else(|_| Err(failure::deadline(plan, progress.phase(), connection.read_after(start))))
}

async fn first_state(
    connection: &Connection,
    plan: &ProbePlan,
    head: &RequestHead,
    phases: &mut Phases,
    progress: &mut Progress,
) -> Result<Standing, Failure> {
    let body = encode_request(&plan.call, 0);
    let begun = ask(connection, head.block(), body, progress, phases).await;
    let begun = begun.map_err(|why| failure::stream(plan, progress.phase(), &why))?;
    let mut standing = Standing {
        exchange: progress.take_exchange(),
        reader: FrameReader::new(true),
        states: Vec::new(),
        http: begun.answer.status,
        headers: begun.answer.headers,
    };
    let came = loop {
        let came = standing.hear(plan).await?;
        if !standing.states.is_empty() {
            break came;
        }
    };
    phases.response = Some(came.since(begun.answered).0.saturating_duration_since(begun.answered));
    Ok(standing)
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
        connection: &Connection,
        pings: &PingPolicy,
        told: impl Fn(ServingState),
    ) -> Failure {
        let every = plan.interval.max(PING_EVERY);
        let mut due = tokio::time::interval_at((Instant::now() + every).into(), every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                heard = self.hear(plan) => {
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
                    if timeout(plan.deadline, connection.ping()).await.is_err() && !connection.read_after(asked) {
                        return failure::ping_deadline(plan);
                    }
                }
            }
        }
    }

    /// Waits for the next piece of the stream, and tells when it came. Cancelling loses nothing.
    async fn hear(&mut self, plan: &ProbePlan) -> Result<Came, Failure> {
        let unreadable = |what: &str| failure::bad_reply(plan, &BadReply::Unreadable(what.to_owned()));
        let piece = match self.exchange.piece().await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Err(self.ended(plan)),
            Err(why) => return Err(failure::stream(plan, FailurePhase::Response, &why)),
        };
        if piece.bytes.len() > MESSAGE_MOST {
            return Err(failure::too_large(plan, MESSAGE_MOST));
        }
        let mut bad = None;
        let states = &mut self.states;
        let fed = self.reader.feed(&piece.bytes, |message| {
            match HealthCheckResponse::decode(message) {
                Ok(response) => states.push(state(response.status())),
                Err(error) => bad = Some(error.to_string()),
            }
            true
        });
        if let Err(Compressed) = fed {
            return Err(unreadable("a message is compressed, although no encoding was offered"));
        }
        match bad {
            Some(error) => Err(unreadable(&error)),
            None => Ok(piece.came),
        }
    }

    /// Why there is nothing more to be heard.
    fn ended(&mut self, plan: &ProbePlan) -> Failure {
        let (trailers, _) = self.exchange.end(Instant::now());
        match failure::judge(plan, self.http, &self.headers, trailers.as_ref()) {
            Err(failure) => failure,
            Ok(()) => Failure {
                status: GrpcStatus::Unavailable,
                class: FailureClass::Status,
                phase: FailurePhase::Response,
                detail: format!(
                    "call {} through {}: the service ended the stream with OK: see whether it is shutting down",
                    plan.call.method(),
                    failure::place(plan)
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
