//! A probe at work: its connections, and one sample at a time.

use super::access::{Access, AccessError};
use super::call::{CallEnd, HeadError, call};
use super::calls::Asked;
use super::connect::{self, NotOpened, Opening, Session};
use super::failure;
use super::slots::Slots;
use super::stall::{Watched, watched};
use super::tcp_info::read_tcp_info;
use crate::model::connection_event::ConnectionEvent;
use crate::model::hop::HopEvidence;
use crate::model::outcome::{Failure, FailureClass, FailurePhase};
use crate::model::plan::{Connection, ProbePlan};
use crate::model::sample::{Outcome, Phases, ProbeSample, Rulers};
use crate::model::series::lost::Loss;
use bytes::Bytes;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a sample waits for its PING after its RPC has ended. The PING turns back at the
/// next hop, so it is nearly always there first.
const PING_GRACE: Duration = Duration::from_millis(20);

/// The number of the next request of this process. From 1 on: an empty answer, in which every number
/// reads as 0, belongs to no request.
static NEXT_SEQUENCE: AtomicU64 = AtomicU64::new(1);

/// A probe that can be sampled. Shared by its samples; owns the reused connections.
#[derive(Debug)]
pub struct Probe {
    plan: Arc<ProbePlan>,
    asked: Asked,
    access: Access,
    slots: Slots,
}

/// A probe that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Its request cannot be written as HTTP/2.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The keys for its connections cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// A first attempt that the server did not look at.
struct Refused {
    took: Duration,
    give_up: Instant,
    opened: bool,
    losses: Vec<(&'static str, Loss)>,
}

/// What a sample is assembled from once its connection stands, or does not.
struct Attempt {
    setup: Phases,
    opened: bool,
    rulers: Rulers,
    end: CallEnd,
    slot: Option<u8>,
}

/// What a sample cost this prober itself.
#[derive(Debug, Clone, Copy)]
struct Cost {
    lag: Duration,
    wait: Option<Duration>,
    took: Duration,
    stalled: Duration,
}

impl Probe {
    /// Reads the plan's TLS files and builds its request head. Blocking.
    ///
    /// # Errors
    /// See [`ProbeError`].
    pub fn new(plan: Arc<ProbePlan>) -> Result<Self, ProbeError> {
        let asked = Asked::new(&plan)?;
        let access = Access::new(&plan, plan.interval)?;
        let slots = Slots::new(plan.slots, plan.most_in_flight(Connection::Reused));
        Ok(Self { plan, asked, access, slots })
    }

    /// The plan it works from.
    pub fn plan(&self) -> &Arc<ProbePlan> {
        &self.plan
    }

    /// Keeps the messages of answers in its samples, if it asks in JSON: for people who look at one sample.
    #[must_use]
    pub fn keeping_answers(mut self) -> Self {
        self.asked.keep_answers();
        self
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// What happened on its connections of this kind since the last call.
    pub fn take_events(&self, connection: Connection) -> Vec<(ConnectionEvent, u64)> {
        self.access.take_events(connection)
    }

    /// Whether a sample may begin now, as far as its connection's slot decides that: of several each has its
    /// share of `max_in_flight`. One that has none left is passed over.
    pub fn has_room(&self, connection: Connection) -> bool {
        connection == Connection::Fresh || self.slots.has_room()
    }

    /// Takes one sample now. `scheduled` is when it should have started.
    ///
    /// Returns what was lost besides. Ends by itself at the deadline plus the drain time.
    /// Cancelling resets the stream and, on a fresh connection, closes it.
    pub async fn sample(
        &self,
        connection: Connection,
        scheduled: Instant,
    ) -> (ProbeSample, Vec<(&'static str, Loss)>) {
        let start = Instant::now();
        let Watched { output: attempt, took, stalled, wait } = watched(async {
            // What there is to be asked is no part of a sample's latency, so its patience starts behind it.
            if let Err(failure) = self.asked.ready(&self.plan, self.access.keys()).await {
                return not_opened(Phases::default(), failure, Vec::new());
            }
            let start = Instant::now();
            match connection {
                // Boxed as opening is: thousands of samples on open connections need none of its room.
                Connection::Fresh => Box::pin(self.fresh(start)).await,
                Connection::Reused => self.reused(start).await,
            }
        })
        .await;
        let lag = start.saturating_duration_since(scheduled);
        let cost = Cost { lag, wait, took, stalled };
        let assembled = self.assemble(connection, cost, attempt);
        self.asked.learn(&assembled.0);
        assembled
    }

    fn assemble(
        &self,
        connection: Connection,
        cost: Cost,
        attempt: Attempt,
    ) -> (ProbeSample, Vec<(&'static str, Loss)>) {
        let Attempt { setup, opened, rulers, end, slot } = attempt;
        let mut phases = end.phases;
        if connection == Connection::Fresh {
            phases =
                Phases { request: phases.request, wait: phases.wait, response: phases.response, ..setup };
        }
        let mut sample = ProbeSample {
            plan: Arc::clone(&self.plan),
            connection,
            slot,
            finished: Instant::now(),
            lag: cost.lag,
            phases,
            outcome: Outcome::Ok,
            opened,
            hops: end.hops,
            service: end.service,
            answer: end.answer,
            rulers,
            prober_wait: cost.wait,
            took: cost.took,
            stalled: cost.stalled,
        };
        let plan = &self.plan;
        sample.outcome = match (end.result, sample.total()) {
            (Err(failure), _) => judged(failure, plan, own_part(&sample), cost.took),
            (Ok(()), Some(total)) if starved(pollution(&sample, end.stamped), total, plan.void_share) => {
                Outcome::Voided(None)
            }
            (Ok(()), Some(total)) if total > plan.deadline => Outcome::Late,
            (Ok(()), _) => Outcome::Ok,
        };
        (sample, end.losses)
    }

    async fn fresh(&self, start: Instant) -> Attempt {
        let (opening, mut losses) = (Opening::default(), Vec::new());
        let attempt = connect::Attempt {
            plan: &self.plan,
            keys: self.access.keys(),
            deadline: start + self.plan.deadline,
            opening: &opening,
            losses: &mut losses,
        };
        match Session::open(attempt, self.access.events(Connection::Fresh)).await {
            Err(NotOpened { phases, failure }) => not_opened(phases, failure, losses),
            Ok((session, setup)) => {
                let give_up = start + self.plan.deadline + self.plan.drain;
                let mut end = self.call_on(&session, give_up).await;
                end.losses.extend(losses);
                let rulers = Rulers { handshake: session.handshake, ..session.kernel_rulers(&self.plan) };
                Attempt { setup, opened: true, rulers, end, slot: None }
            }
        }
    }

    async fn reused(&self, start: Instant) -> Attempt {
        let slot = self.slots.next();
        let index = self.plan.slot(slot.index);
        let mut deadline = start + self.plan.deadline;
        let mut losses = Vec::new();
        // A request that a server promised not to have looked at is sent once more, as gRPC clients
        // do; what the first attempt took is latency all the same.
        let mut refused: Option<Refused> = None;
        loop {
            let lease = match slot.lease(&self.plan, &self.access, deadline, &mut losses).await {
                Ok(lease) => lease,
                Err(NotOpened { phases, failure }) => {
                    losses.extend(refused.into_iter().flat_map(|refused| refused.losses));
                    return Attempt { slot: index, ..not_opened(phases, failure, losses) };
                }
            };
            // Opening is not part of a reused sample, so its patience starts here.
            let began = Instant::now();
            let patience = self.plan.deadline + self.plan.drain;
            let give_up = refused.as_ref().map_or(began + patience, |refused| refused.give_up);
            let (mut end, ping) = self.call_and_ping(&lease.session, give_up).await;
            let keep = end.result.is_ok() || !(end.silent || lease.session.is_over());
            if !keep {
                slot.forget(&lease.session, &self.access.pings).await;
            }
            if end.unprocessed && refused.is_none() {
                let took = began.elapsed();
                refused = Some(Refused { took, give_up, opened: lease.opened, losses: end.losses });
                deadline = Instant::now() + self.plan.deadline;
                continue;
            }
            let mut opened = lease.opened;
            if let Some(refused) = refused {
                opened |= refused.opened;
                end.losses.extend(refused.losses);
                end.phases.request = end.phases.request.map(|request| request + refused.took);
            }
            end.losses.append(&mut losses);
            let ping = ping.unwrap_or_else(|loss| {
                end.losses.push(("ping", loss));
                None
            });
            let handshake = lease.session.handshake.filter(|_| lease.opened);
            let rulers = Rulers { handshake, ping, ..lease.session.kernel_rulers(&self.plan) };
            return Attempt { setup: Phases::default(), opened, rulers, end, slot: index };
        }
    }

    /// The RPC, with a PING beside it. `Ok(None)` is a PING that is switched off or did not
    /// come back in time for this sample.
    async fn call_and_ping(
        &self,
        session: &Session,
        give_up: Instant,
    ) -> (CallEnd, Result<Option<Duration>, Loss>) {
        let rpc = self.call_on(session, give_up);
        if !self.plan.ping {
            return (rpc.await, Ok(None));
        }
        if let Err(loss) = self.access.pings.allowed() {
            return (rpc.await, Err(loss));
        }
        let ping = session.connection.ping();
        tokio::pin!(rpc, ping);
        let mut answer = None;
        let end = loop {
            tokio::select! {
                biased;
                end = &mut rpc => break end,
                round_trip = &mut ping, if answer.is_none() => answer = Some(round_trip),
            }
        };
        if answer.is_none() && end.result.is_ok() {
            answer = tokio::time::timeout(PING_GRACE, &mut ping).await.ok();
        }
        (end, answer.ok_or(Loss::Missing))
    }

    async fn call_on(&self, session: &Session, give_up: Instant) -> CallEnd {
        let sequence = NEXT_SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let head = self.asked.head();
        let mut end = call(&self.plan, &head, &session.connection, sequence, give_up).await;
        if let Err(failure) = &mut end.result
            && (failure.class, failure.phase) == (FailureClass::Deadline, FailurePhase::Wait)
            && read_tcp_info(session.socket.as_fd()).not_sent.is_some_and(|bytes| bytes > 0)
        {
            // This host's socket took the request, and the peer's did not.
            *failure = failure::deadline(&self.plan, FailurePhase::Request, !end.silent);
        }
        end
    }
}

fn not_opened(setup: Phases, failure: Failure, losses: Vec<(&'static str, Loss)>) -> Attempt {
    Attempt {
        setup,
        opened: false,
        rulers: Rulers::default(),
        slot: None,
        end: CallEnd {
            phases: Phases::default(),
            result: Err(failure),
            hops: HopEvidence::default(),
            service: None,
            answer: Default::default(),
            message: Bytes::new(),
            losses,
            unprocessed: false,
            silent: false,
            stamped: false,
        },
    }
}

/// The part of a sample in which this prober did not look: its thread had no CPU, or stood still.
/// **None**: the kernel does not tell the first, and there was nothing of the second.
pub(super) fn own_part(sample: &ProbeSample) -> Option<Duration> {
    sample.prober_wait.max(Some(sample.stalled).filter(|stalled| !stalled.is_zero()))
}

/// The part of a sample's latency that may be this prober's own. What the kernel timed is none: an answer
/// that waited for this thread to look is as old as its stamp.
fn pollution(sample: &ProbeSample, stamped: bool) -> Option<Duration> {
    let own_part = own_part(sample)?;
    let own_clock = sample.phases.setup() + sample.phases.request.unwrap_or_default();
    Some(if stamped { own_part.min(own_clock) } else { own_part })
}

/// Whether the prober's own part explains more than `share` of a latency, or of a deadline.
pub(super) fn starved(own_part: Option<Duration>, total: Duration, share: f64) -> bool {
    own_part.is_some_and(|own_part| own_part.as_secs_f64() > total.as_secs_f64() * share)
}

/// A failure, or the void if this prober may have made it itself: it stood still for more than its share
/// of the deadline, and there was no whole deadline in which it looked and nothing came.
pub(super) fn judged(
    failure: Failure,
    plan: &ProbePlan,
    own_part: Option<Duration>,
    took: Duration,
) -> Outcome {
    let looked = took.saturating_sub(own_part.unwrap_or_default());
    let own_fault = starved(own_part, plan.deadline, plan.void_share) && looked < plan.deadline;
    if own_fault && failure.may_be_a_stall() {
        Outcome::Voided(Some(failure))
    } else {
        Outcome::Failed(failure)
    }
}
