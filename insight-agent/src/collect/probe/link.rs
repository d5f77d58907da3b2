//! A link probe at work: round trips to the next hop, with no RPC at all.
//!
//! A *fresh* sample is a TCP handshake, closed again at once: the next hop's kernel answers it, so
//! neither its processes nor anything behind them take part. A *reused* sample is an HTTP/2 PING on
//! a connection that stays: the next hop's event loop answers it.

use super::access::{Access, AccessError};
use super::connect::{self, NotOpened, Opening, Session, reach};
use super::failure;
use super::http2::Ended;
use super::session::{judged, own_part, starved};
use super::stall::{Watched, watched};
use crate::model::connection_event::ConnectionEvent;
use crate::model::hop::HopEvidence;
use crate::model::outcome::{Failure, FailureClass};
use crate::model::plan::{Connection, ProbePlan};
use crate::model::sample::{Answer, Outcome, Phases, ProbeSample, Rulers};
use crate::model::series::lost::Loss;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Mutex;
use tokio::time::timeout_at;

/// A link probe that can be sampled. Owns the connection that PINGs go over.
#[derive(Debug)]
pub struct LinkProbe {
    plan: Arc<ProbePlan>,
    access: Access,
    /// The connection for PINGs. It knows of a GOAWAY before the peer closes its end.
    line: Mutex<Option<Arc<Session>>>,
}

/// What a sample is made of.
#[derive(Default)]
struct Attempt {
    phases: Phases,
    opened: bool,
    rulers: Rulers,
    failure: Option<Failure>,
    losses: Vec<(&'static str, Loss)>,
}

impl LinkProbe {
    /// Reads the plan's TLS files. Blocking.
    ///
    /// # Errors
    /// A TLS file is missing or unusable.
    pub fn new(plan: Arc<ProbePlan>) -> Result<Self, AccessError> {
        let access = Access::new(&plan, plan.interval)?;
        Ok(Self { plan, access, line: Mutex::new(None) })
    }

    /// The plan it works from.
    pub fn plan(&self) -> &Arc<ProbePlan> {
        &self.plan
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// What happened on its connections of this kind since the last call.
    pub fn take_events(&self, connection: Connection) -> Vec<(ConnectionEvent, u64)> {
        self.access.take_events(connection)
    }

    /// Takes one sample now: a handshake (fresh) or a PING (reused). `scheduled` is when it should
    /// have started. Ends by itself at the deadline; cancelling closes what was being opened.
    ///
    /// Returns what was lost besides. **None**: nothing was sent, because the peer asked for fewer
    /// PINGs; the loss says so.
    pub async fn sample(
        &self,
        connection: Connection,
        scheduled: Instant,
    ) -> (Option<ProbeSample>, Vec<(&'static str, Loss)>) {
        let start = Instant::now();
        let Watched { output: attempt, took, stalled, wait: prober_wait } = watched(async {
            match connection {
                Connection::Fresh => Some(self.handshake(start).await),
                Connection::Reused => self.ping(start).await,
            }
        })
        .await;
        let Some(attempt) = attempt else { return (None, vec![("ping", Loss::BackedOff)]) };
        let mut sample = ProbeSample {
            plan: Arc::clone(&self.plan),
            connection,
            slot: None,
            finished: Instant::now(),
            lag: start.saturating_duration_since(scheduled),
            phases: attempt.phases,
            outcome: Outcome::Ok,
            opened: attempt.opened,
            hops: HopEvidence::default(),
            service: None,
            rulers: attempt.rulers,
            prober_wait,
            took,
            stalled,
            answer: Answer::default(),
        };
        let own_part = own_part(&sample);
        sample.outcome = match (attempt.failure, attempt.rulers.ping) {
            (Some(failure), _) => judged(advised(failure), &self.plan, own_part, took),
            // The kernel times handshakes: whether this thread runs plays no part in them.
            (None, Some(ping)) if starved(own_part, ping, self.plan.void_share) => Outcome::Voided(None),
            (None, _) => Outcome::Ok,
        };
        (Some(sample), attempt.losses)
    }

    async fn handshake(&self, start: Instant) -> Attempt {
        let (mut phases, mut losses, opening) = (Phases::default(), Vec::new(), Opening::default());
        let mut attempt = connect::Attempt {
            plan: &self.plan,
            keys: self.access.keys(),
            deadline: start + self.plan.deadline,
            opening: &opening,
            losses: &mut losses,
        };
        match reach(&mut attempt, &mut phases).await {
            Err(failure) => Attempt { phases, failure: Some(failure), losses, ..Attempt::default() },
            Ok((_closed_at_once, handshake)) => {
                if handshake.is_none() {
                    losses.push(("link", Loss::Missing));
                }
                let rulers = Rulers { handshake, ..Rulers::default() };
                Attempt { phases, opened: true, rulers, losses, ..Attempt::default() }
            }
        }
    }

    /// **None** while backing off, and when the peer has just asked for that.
    async fn ping(&self, start: Instant) -> Option<Attempt> {
        let deadline = start + self.plan.deadline;
        let mut losses = Vec::new();
        // Samples are skipped while one is under way, so nobody else waits for this lock.
        let mut slot = self.line.lock().await;
        let mut retried = false;
        self.drop_ended(&mut slot);
        if self.access.pings.allowed().is_err() {
            return None;
        }
        loop {
            let (line, opened) = match slot.as_ref() {
                Some(line) => (Arc::clone(line), false),
                None => match self.open_line(deadline, &mut losses).await {
                    Err(failure) => {
                        return Some(Attempt { failure: Some(failure), losses, ..Attempt::default() });
                    }
                    Ok(line) => (Arc::clone(slot.insert(Arc::new(line))), true),
                },
            };
            let attempt = Attempt { opened: opened || retried, losses: losses.clone(), ..Attempt::default() };
            // Opening is not part of a PING, so its patience starts here.
            let give_up = if opened { Instant::now() + self.plan.deadline } else { deadline };
            let failure = match timeout_at(give_up.into(), line.connection.ping()).await {
                Ok(Some(ping)) => {
                    let rulers = Rulers { ping: Some(ping), ..Rulers::default() };
                    return Some(Attempt { rulers, ..attempt });
                }
                // A whole deadline in silence: the next sample asks on a new connection, which
                // also tells a stuck process (no SETTINGS) from a path that went away.
                Err(_) => match line.connection.refuses() {
                    Some(goaway) => failure::ping_lost(&self.plan, Some(&goaway)),
                    None => failure::ping_deadline(&self.plan),
                },
                Ok(None) => match line.connection.ended() {
                    // An idle connection that was closed in peace while the PING was on its way
                    // says nothing about the link.
                    Some(Ended::Peace) if !opened && !retried => {
                        retried = true;
                        *slot = None;
                        continue;
                    }
                    Some(Ended::Broke(why)) => failure::ping_lost(&self.plan, Some(&why)),
                    _ => failure::ping_lost(&self.plan, None),
                },
            };
            *slot = None;
            if self.access.pings.connection_ended(&line.connection) {
                // Our own PINGs cost the connection: nothing is wrong with the link.
                return None;
            }
            return Some(Attempt { failure: Some(failure), ..attempt });
        }
    }

    /// Takes a connection that has ended, or is about to (GOAWAY), out of its slot and learns from
    /// how it did.
    fn drop_ended(&self, slot: &mut Option<Arc<Session>>) {
        let Some(line) = slot.as_ref() else { return };
        if line.connection.refuses().is_some() {
            self.access.pings.connection_ended(&line.connection);
            *slot = None;
        }
    }

    async fn open_line(
        &self,
        deadline: Instant,
        losses: &mut Vec<(&'static str, Loss)>,
    ) -> Result<Session, Failure> {
        let opening = Opening::default();
        let keys = self.access.keys();
        let attempt = connect::Attempt { plan: &self.plan, keys, deadline, opening: &opening, losses };
        let opened = Session::open(attempt, self.access.events(Connection::Reused)).await;
        opened.map(|(session, _)| session).map_err(|NotOpened { failure, .. }| failure)
    }
}

/// Adds what only a link probe can do about a peer that does not speak HTTP/2.
fn advised(mut failure: Failure) -> Failure {
    if matches!(failure.class, FailureClass::NoSettings | FailureClass::Protocol) {
        failure.detail.push_str("; a link probe needs no HTTP/2 with ping = false");
    }
    failure
}
