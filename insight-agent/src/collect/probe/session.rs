//! A probe at work: its connections, and one sample at a time.

use super::call::{CallEnd, HeadError, RequestHead, call};
use super::clocked_io::IoClock;
use super::connect::{Driver, Ended, NotOpened, Opened, end_reason, open};
use super::ping::{PingPolicy, Pinger};
use super::tcp_info::read_tcp_info;
use crate::collect::host::schedstat::read_thread_wait;
use crate::collect::tls::{RouteTls, TlsError};
use crate::model::hop::HopEvidence;
use crate::model::outcome::Failure;
use crate::model::plan::{Connection, ProbePlan};
use crate::model::sample::{Outcome, Phases, ProbeSample, Rulers};
use crate::model::series::lost::Loss;
use bytes::Bytes;
use h2::client::SendRequest;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::timeout_at;

/// How long a sample waits for its PING after its RPC has ended. The PING turns back at the
/// next hop, so it is nearly always there first.
const PING_GRACE: Duration = Duration::from_millis(20);

/// The number of the next request of this process. From 1 on: an empty answer, in which every number
/// reads as 0, belongs to no request.
static NEXT_SEQUENCE: AtomicU64 = AtomicU64::new(1);

/// A probe that can be sampled. Shared by its samples; owns the reused connection.
#[derive(Debug)]
pub struct Probe {
    plan: Arc<ProbePlan>,
    head: RequestHead,
    tls: Option<RouteTls>,
    reused: Mutex<Option<Arc<Session>>>,
    pings: PingPolicy,
}

/// A probe that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Its request cannot be written as HTTP/2.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Its TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A connection in use.
#[derive(Debug)]
struct Session {
    send: SendRequest<Bytes>,
    clock: Arc<IoClock>,
    socket: OwnedFd,
    pinger: Pinger,
    handshake: Option<Duration>,
    ended: Ended,
    /// Ends the connection when the session is dropped.
    _driver: Driver,
}

/// A session, and whether it had to be opened for whoever asked.
struct Lease {
    session: Arc<Session>,
    opened: bool,
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
}

impl Probe {
    /// Reads the plan's TLS files and builds its request head. Blocking.
    ///
    /// # Errors
    /// See [`ProbeError`].
    pub fn new(plan: Arc<ProbePlan>) -> Result<Self, ProbeError> {
        let head = RequestHead::new(&plan)?;
        let route = &plan.route;
        let tls =
            route.tls.as_ref().map(|tls| RouteTls::new(&route.described(), &route.host, tls)).transpose()?;
        Ok(Self { plan, head, tls, reused: Mutex::new(None), pings: PingPolicy::default() })
    }

    /// The plan it works from.
    pub fn plan(&self) -> &Arc<ProbePlan> {
        &self.plan
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
        let wait_before = read_thread_wait();
        let attempt = match connection {
            Connection::Fresh => self.fresh(start).await,
            Connection::Reused => self.reused(start).await,
        };
        let wait = read_thread_wait().zip(wait_before).map(|(after, before)| after.saturating_sub(before));
        self.assemble(connection, start.saturating_duration_since(scheduled), wait, attempt)
    }

    fn assemble(
        &self,
        connection: Connection,
        lag: Duration,
        prober_wait: Option<Duration>,
        attempt: Attempt,
    ) -> (ProbeSample, Vec<(&'static str, Loss)>) {
        let Attempt { setup, opened, rulers, end } = attempt;
        let mut phases = end.phases;
        if connection == Connection::Fresh {
            phases =
                Phases { request: phases.request, wait: phases.wait, response: phases.response, ..setup };
        }
        let mut sample = ProbeSample {
            plan: Arc::clone(&self.plan),
            connection,
            finished: Instant::now(),
            lag,
            phases,
            outcome: Outcome::Ok,
            opened,
            hops: end.hops,
            service: end.service,
            rulers,
            prober_wait,
        };
        sample.outcome = match (end.result, sample.total()) {
            (Err(failure), _) => Outcome::Failed(failure),
            (Ok(()), Some(total)) if starved(prober_wait, total, self.plan.void_share) => Outcome::Voided,
            (Ok(()), Some(total)) if total > self.plan.deadline => Outcome::Late,
            (Ok(()), _) => Outcome::Ok,
        };
        (sample, end.losses)
    }

    async fn fresh(&self, start: Instant) -> Attempt {
        match self.open_session(start + self.plan.deadline).await {
            Err(NotOpened { phases, failure }) => not_opened(phases, failure),
            Ok((session, setup)) => {
                let give_up = start + self.plan.deadline + self.plan.drain;
                let end = self.call_on(&session, give_up).await;
                let rulers = Rulers { handshake: session.handshake, ..session.kernel_rulers() };
                self.pings.connection_ended(end_reason(&session.ended));
                Attempt { setup, opened: true, rulers, end }
            }
        }
    }

    async fn reused(&self, start: Instant) -> Attempt {
        let mut deadline = start + self.plan.deadline;
        // A request that a server promised not to have looked at is sent once more, as gRPC clients
        // do; what the first attempt took is latency all the same.
        let mut refused: Option<Refused> = None;
        loop {
            // The session's lock is held while a connection is opened: whoever else wants it
            // waits here, so the wait needs the same deadline.
            let lease = match timeout_at(deadline.into(), self.lease(deadline)).await {
                Ok(Ok(lease)) => lease,
                Ok(Err(NotOpened { phases, failure })) => return not_opened(phases, failure),
                Err(_) => {
                    let phase = super::failure::SetupPhase::Connect;
                    let failure = super::failure::setup_deadline(&self.plan, phase);
                    return not_opened(Phases::default(), failure);
                }
            };
            // Opening is not part of a reused sample, so its patience starts here.
            let began = Instant::now();
            let patience = self.plan.deadline + self.plan.drain;
            let give_up = refused.as_ref().map_or(began + patience, |refused| refused.give_up);
            let (mut end, ping) = self.call_and_ping(&lease.session, give_up).await;
            let keep = end.result.is_ok() || !(end.silent || lease.session.is_over());
            if !keep {
                self.forget(&lease.session).await;
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
            let ping = ping.unwrap_or_else(|loss| {
                end.losses.push(("ping", loss));
                None
            });
            let handshake = lease.session.handshake.filter(|_| lease.opened);
            let rulers = Rulers { handshake, ping, ..lease.session.kernel_rulers() };
            return Attempt { setup: Phases::default(), opened, rulers, end };
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
        if let Err(loss) = self.pings.allowed() {
            return (rpc.await, Err(loss));
        }
        let ping = session.pinger.round_trip();
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
        call(&self.plan, &self.head, session.send.clone(), &session.clock, &session.ended, sequence, give_up)
            .await
    }

    async fn open_session(&self, deadline: Instant) -> Result<(Session, Phases), NotOpened> {
        let Opened { send, ping, clock, socket, phases, handshake, ended, driver } =
            open(&self.plan, self.tls.as_ref(), deadline).await?;
        Ok((
            Session { send, clock, socket, pinger: Pinger::new(ping), handshake, ended, _driver: driver },
            phases,
        ))
    }

    /// The reused connection, opened if there is none that can take a request.
    async fn lease(&self, deadline: Instant) -> Result<Lease, NotOpened> {
        let mut slot = self.reused.lock().await;
        if let Some(session) = slot.as_ref() {
            if session.takes_requests().await {
                return Ok(Lease { session: Arc::clone(session), opened: false });
            }
            self.pings.connection_ended(end_reason(&session.ended));
            *slot = None;
        }
        let (session, _) = self.open_session(deadline).await?;
        let session = Arc::new(session);
        *slot = Some(Arc::clone(&session));
        Ok(Lease { session, opened: true })
    }

    async fn forget(&self, session: &Arc<Session>) {
        let mut slot = self.reused.lock().await;
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            self.pings.connection_ended(end_reason(&session.ended));
            *slot = None;
        }
    }
}

impl Session {
    /// Whether the connection is over, with or without a reason.
    fn is_over(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Whether a request could be sent now: not after GOAWAY or a broken connection.
    async fn takes_requests(&self) -> bool {
        !self.is_over() && self.send.clone().ready().await.is_ok()
    }

    fn kernel_rulers(&self) -> Rulers {
        let info = read_tcp_info(self.socket.as_fd());
        Rulers { handshake: None, ack: info.rtt, ack_min: info.min_rtt, ping: None }
    }
}

fn not_opened(setup: Phases, failure: Failure) -> Attempt {
    Attempt {
        setup,
        opened: false,
        rulers: Rulers::default(),
        end: CallEnd {
            phases: Phases::default(),
            result: Err(failure),
            hops: HopEvidence::default(),
            service: None,
            losses: Vec::new(),
            unprocessed: false,
            silent: false,
        },
    }
}

/// Whether the prober's own wait explains more than `share` of a latency.
pub(super) fn starved(prober_wait: Option<Duration>, total: Duration, share: f64) -> bool {
    prober_wait.is_some_and(|wait| wait.as_secs_f64() > total.as_secs_f64() * share)
}
