//! `grpc.health.v1.Health/Watch`: one stream that stays, and on it every change of a service's health.
//!
//! A sample is what it took to open the stream: request, wait, and the first message as its response. While the
//! stream stands there are no samples; a PING now and then, unless they are switched off, finds out when
//! nobody is at the other end any more. A stream that breaks is opened again, ever more slowly.

use super::health_stream::{Standing, open_stream};
use crate::collect::probe::access::Access;
use crate::collect::probe::call::RequestHead;
use crate::collect::probe::connect::{Attempt, NotOpened, Opening, Session};
use crate::collect::probe::session::{ProbeError, judged, own_part};
use crate::collect::probe::stall::{Watched, watched};
use crate::model::health::HealthEvent;
use crate::model::hop::HopEvidence;
use crate::model::outcome::{Failure, FailureClass, GrpcStatus};
use crate::model::plan::{Connection, ProbePlan};
use crate::model::sample::{Answer, Outcome, Phases, ProbeEvent, ProbeSample, Rulers};
use crate::model::series::lost::Loss;
use rand::Rng;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Least time between two attempts, and the longest. Doubled from one to the other, as gRPC clients do it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After UNIMPLEMENTED: the protocol asks clients not to try again, and services are updated.
const UNIMPLEMENTED_PAUSE: Duration = Duration::from_secs(600);
/// A stream that stood for so long had nothing wrong with it: the pause begins anew.
const STOOD: Duration = Duration::from_secs(60);
/// Least time between two PINGs: half of it finds a dead peer earlier, and is what gRPC servers object to.
pub(super) const PING_EVERY: Duration = Duration::from_secs(10);
/// A probe that watches a service's health.
#[derive(Debug)]
pub(in crate::collect::probe) struct HealthWatch {
    plan: Arc<ProbePlan>,
    head: RequestHead,
    access: Access,
}

impl HealthWatch {
    /// Reads the plan's TLS files. Blocking.
    ///
    /// # Errors
    /// See [`ProbeError`].
    pub(in crate::collect::probe) fn new(plan: Arc<ProbePlan>) -> Result<Self, ProbeError> {
        let head = RequestHead::new(&plan)?;
        let access = Access::new(&plan, plan.interval.max(PING_EVERY))?;
        Ok(Self { plan, head, access })
    }

    pub(in crate::collect::probe) fn plan(&self) -> &Arc<ProbePlan> {
        &self.plan
    }

    pub(in crate::collect::probe) fn access(&self) -> &Access {
        &self.access
    }

    /// Watches until it is dropped, which closes the connection. Everything that happens goes to `report`.
    pub(in crate::collect::probe) async fn keep(&self, report: impl Fn(ProbeEvent)) {
        let mut line = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let (sample, losses, opened) = self.open(&mut line).await;
            let not_opened = match &sample.outcome {
                Outcome::Failed(failure) | Outcome::Voided(Some(failure)) => Some(failure.clone()),
                _ => None,
            };
            report(ProbeEvent::Sample(Box::new(sample)));
            for (measurement, loss) in losses {
                report(ProbeEvent::Lost(measurement, loss));
            }
            let opened_at = Instant::now();
            let broken = match (opened, &line) {
                (Some(mut standing), Some(line)) => {
                    for state in standing.take_states() {
                        self.tell(&report, HealthEvent::Told(state));
                    }
                    let told = |state| self.tell(&report, HealthEvent::Told(state));
                    Some(standing.follow(&self.plan, &line.connection, &self.access.pings, told).await)
                }
                _ => not_opened,
            };
            self.let_go(&mut line, broken.as_ref());
            if opened_at.elapsed() >= STOOD {
                pause = FIRST_PAUSE;
            }
            let is_offered = broken.as_ref().is_none_or(|broken| broken.status != GrpcStatus::Unimplemented);
            if let Some(broken) = broken {
                self.tell(&report, HealthEvent::Broken(broken));
            }
            // Watches that a restarted service has lost shall not come back all at once.
            let jitter = rand::rng().random_range(0.8..1.2);
            tokio::time::sleep(if is_offered { pause } else { UNIMPLEMENTED_PAUSE }.mul_f64(jitter)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn tell(&self, report: &impl Fn(ProbeEvent), event: HealthEvent) {
        report(ProbeEvent::Health(Arc::clone(&self.plan), event));
    }

    /// Keeps a connection only if nothing is wrong with it but the stream that ended on it.
    fn let_go(&self, line: &mut Option<Session>, failure: Option<&Failure>) {
        let answered = failure.is_some_and(|failure| {
            matches!(failure.class, FailureClass::Status | FailureClass::Misrouted | FailureClass::Proxy)
        });
        let is_over = line.as_ref().is_some_and(|line| line.connection.refuses().is_some());
        if answered && !is_over {
            return;
        }
        if let Some(line) = line.take() {
            self.access.pings.connection_ended(&line.connection);
        }
    }

    /// Opens the stream, on the connection that there is or on a new one.
    async fn open(
        &self,
        line: &mut Option<Session>,
    ) -> (ProbeSample, Vec<(&'static str, Loss)>, Option<Standing>) {
        let start = Instant::now();
        let (mut losses, mut phases, mut rulers) = (Vec::new(), Phases::default(), Rulers::default());
        let opens = line.is_none();
        let Watched { output, took, stalled, wait: prober_wait } = watched(async {
            let line = match line {
                Some(line) => line,
                None => {
                    let deadline = start + self.plan.deadline;
                    let attempt = Attempt {
                        plan: &self.plan,
                        keys: self.access.keys(),
                        deadline,
                        opening: &Opening::default(),
                        losses: &mut losses,
                    };
                    let opened = Session::open(attempt, self.access.events(Connection::Reused)).await;
                    line.insert(opened.map_err(|NotOpened { failure, .. }| failure)?.0)
                }
            };
            let standing = open_stream(&line.connection, &self.plan, &self.head, &mut phases).await;
            rulers = Rulers { handshake: line.handshake.filter(|_| opens), ..line.kernel_rulers(&self.plan) };
            standing
        })
        .await;
        let mut sample = ProbeSample {
            plan: Arc::clone(&self.plan),
            connection: Connection::Reused,
            finished: Instant::now(),
            // It keeps no schedule that it could be behind.
            lag: Duration::ZERO,
            phases,
            outcome: Outcome::Ok,
            opened: opens && line.is_some(),
            slot: None,
            hops: HopEvidence::default(),
            service: None,
            answer: Answer::default(),
            rulers,
            prober_wait,
            took,
            stalled,
        };
        let standing = match output {
            Ok(standing) => {
                if sample.total().is_some_and(|total| total > self.plan.deadline) {
                    sample.outcome = Outcome::Late;
                }
                Some(standing)
            }
            Err(failure) => {
                sample.outcome = judged(failure, &self.plan, own_part(&sample), took);
                None
            }
        };
        (sample, losses, standing)
    }
}
