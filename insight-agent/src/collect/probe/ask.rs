//! Sending a request on an open connection, and timing it until its answer begins.

use super::http2::{Answer, Break, Connection, Exchange};
use crate::model::outcome::FailurePhase;
use crate::model::sample::Phases;
use bytes::Bytes;
use std::time::Instant;

/// How far a request has come. It outlives whoever gives up waiting; dropping it resets the stream.
#[derive(Debug, Default)]
pub(super) struct Progress {
    exchange: Option<Exchange>,
    answered: bool,
}

impl Progress {
    /// Where it is, or where it broke.
    pub(super) fn phase(&self) -> FailurePhase {
        match &self.exchange {
            _ if self.answered => FailurePhase::Response,
            Some(exchange) if exchange.written().is_some() => FailurePhase::Wait,
            _ => FailurePhase::Request,
        }
    }

    /// Takes the exchange, once [`ask`] has returned its answer.
    pub(super) fn take_exchange(&mut self) -> Exchange {
        self.exchange.take().expect("there is no answer without a request")
    }

    /// The exchange, once [`ask`] has returned its answer.
    pub(super) fn exchange(&mut self) -> &mut Exchange {
        self.exchange.as_mut().expect("there is no answer without a request")
    }
}

/// An answer that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) answer: Answer,
    /// When the request began.
    pub(super) began: Instant,
    /// When the answer did.
    pub(super) answered: Instant,
    /// The kernel says so, and not this thread.
    pub(super) stamped: bool,
}

/// Sends a request and waits for the beginning of its answer; tells how long each took. What this process does
/// before it writes is no part of the path, unless it had to wait for the peer.
pub(super) async fn ask(
    connection: &Connection,
    block: &[u8],
    body: Bytes,
    progress: &mut Progress,
    phases: &mut Phases,
) -> Result<Begun, Break> {
    let exchange = progress.exchange.insert(connection.request(block, body).await?);
    let answer = exchange.answer().await?;
    progress.answered = true;
    let looked = Instant::now();
    let began = exchange.began().unwrap_or(looked);
    let (answered, stamped) = answer.came.since(began);
    // A server may answer before all is written.
    let written = exchange.written().unwrap_or(answered).min(answered);
    phases.request = Some(written.saturating_duration_since(began));
    phases.wait = Some(answered.saturating_duration_since(written.max(began)));
    Ok(Begun { answer, began, answered, stamped })
}
