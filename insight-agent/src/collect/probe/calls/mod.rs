//! What a probe may ask beside Insight receivers and health checks: methods whose messages are learnt from the
//! service or from a file, streams of answers, health watches, and what is expected of all of these.

pub(super) mod answer;
mod frames;
mod health_stream;
mod reflection;
pub(super) mod stream;
#[cfg(test)]
mod tests;
pub(super) mod watch;

use super::access::Keys;
use super::call::{HeadError, RequestHead};
use super::failure;
use crate::model::method::{Method, MethodError};
use crate::model::outcome::{Failure, FailureClass, FailurePhase, GrpcStatus};
use crate::model::plan::{Call, Connection, MethodCall, ProbePlan};
use crate::model::sample::{Outcome, ProbeSample};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::timeout_at;

/// Least time between two askings of a service whose messages are known: a proxy that closes connections every
/// second must not make a probe ask every second. With half of it a change is seen earlier; it costs a
/// connection each time.
const REFRESH: Duration = Duration::from_secs(60);
/// How long nobody is asked again after the first answer that does not help, and after the last.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What a probe's samples send; learnt from the service, if the plan says so.
#[derive(Debug)]
pub(super) struct Asked {
    head: StdMutex<Arc<RequestHead>>,
    /// **None**: there is nothing to be learnt.
    learning: Option<Learning>,
}

/// How the messages of a method come from the service itself.
#[derive(Debug, Default)]
struct Learning {
    /// Held by who asks.
    state: Mutex<Learnt>,
    /// The service may be another one than the one that was asked.
    is_stale: AtomicBool,
    /// A connection was opened before.
    was_opened: AtomicBool,
}

#[derive(Debug, Default)]
struct Learnt {
    asked: Option<Instant>,
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    failure: Failure,
    at: Instant,
    pause: Duration,
}

impl Asked {
    /// Of a plan; with a descriptor set all is known at once.
    ///
    /// # Errors
    /// The plan cannot be put into HTTP/2.
    pub(super) fn new(plan: &ProbePlan) -> Result<Self, HeadError> {
        let mut head = RequestHead::new(plan)?;
        let mut learning = None;
        if let Call::Method(call) = &plan.call {
            match &call.descriptors {
                Some(set) => {
                    let method = Method::new(set.pool(), &call.method, &call.request_json, &plan.expect);
                    head.method = Some(Arc::new(method.map_err(|error| head_error(plan, call, &error))?));
                }
                None => learning = Some(Learning::default()),
            }
        }
        Ok(Self { head: StdMutex::new(Arc::new(head)), learning })
    }

    /// Samples keep what was answered.
    pub(super) fn keep_answers(&mut self) {
        Arc::make_mut(&mut self.current()).keep_answers = true;
    }

    /// What a sample sends now.
    pub(super) fn head(&self) -> Arc<RequestHead> {
        Arc::clone(&self.current())
    }

    fn current(&self) -> MutexGuard<'_, Arc<RequestHead>> {
        // A poisoned lock only means that a thread panicked between two assignments.
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is known what to send, asking if need be; `Err` is why it is not, at the plan's deadline
    /// at the latest. Whoever waits for the same shares the outcome. What is known once stays in use until
    /// something else is known.
    ///
    /// Cancelling closes what was opened to ask; the next one asks anew.
    pub(super) async fn ready(&self, plan: &ProbePlan, keys: Keys<'_>) -> Result<(), Failure> {
        let Some(learning) = &self.learning else { return Ok(()) };
        let is_known = self.head().method.is_some();
        if is_known && !learning.is_stale.load(Ordering::Relaxed) {
            return Ok(());
        }
        let arrived = Instant::now();
        let deadline = arrived + plan.deadline;
        let mut state = if is_known {
            // Somebody asks; until they know more, what is known will do.
            let Ok(state) = learning.state.try_lock() else { return Ok(()) };
            if state.asked.is_some_and(|asked| asked.elapsed() < REFRESH) {
                return Ok(());
            }
            state
        } else {
            let Ok(state) = timeout_at(deadline.into(), learning.state.lock()).await else {
                return Err(still_learning(plan));
            };
            if self.head().method.is_some() {
                return Ok(());
            }
            if let Some(failed) = &state.failed
                && (failed.at >= arrived || failed.at.elapsed() < failed.pause)
            {
                return Err(failed.failure.clone());
            }
            state
        };
        state.asked = Some(arrived);
        learning.is_stale.store(false, Ordering::Relaxed);
        match Box::pin(learn(plan, keys, deadline)).await {
            Ok(method) => {
                let mut head = self.current();
                Arc::make_mut(&mut head).method = Some(Arc::new(method));
                state.failed = None;
                Ok(())
            }
            Err(failure) if is_known => {
                tracing::info!(probe = plan.name, "still with the messages known before: {}", failure.detail);
                Ok(())
            }
            Err(failure) => {
                let before = state.failed.as_ref().map(|failed| failed.pause);
                // A path that is broken is tried by each sample, as any other is.
                let pause = match failure.class {
                    FailureClass::Schema => {
                        before.map_or(FIRST_PAUSE, |before| (before * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE))
                    }
                    _ => Duration::ZERO,
                };
                state.failed = Some(Failed { failure: failure.clone(), at: Instant::now(), pause });
                Err(failure)
            }
        }
    }

    /// Whether a sample's end says that the service may be another one now: its connection was replaced, or
    /// it does not know the method any more.
    pub(super) fn learn(&self, sample: &ProbeSample) {
        use FailureClass::{Goaway, Misrouted, Protocol, Reset};
        let Some(learning) = &self.learning else { return };
        let reopened = sample.opened
            && sample.connection == Connection::Reused
            && learning.was_opened.swap(true, Ordering::Relaxed);
        let suspicious = match &sample.outcome {
            Outcome::Failed(failure) => matches!(failure.class, Goaway | Misrouted | Protocol | Reset),
            _ => false,
        };
        if reopened || suspicious {
            learning.is_stale.store(true, Ordering::Relaxed);
        }
    }
}

async fn learn(plan: &ProbePlan, keys: Keys<'_>, deadline: Instant) -> Result<Method, Failure> {
    let Call::Method(call) = &plan.call else { return Err(still_learning(plan)) };
    let pool = reflection::descriptors(plan, call, keys, deadline).await?;
    Method::new(&pool, &call.method, &call.request_json, &plan.expect).map_err(|error| misfit(plan, &error))
}

/// A descriptor set was held against the configuration before it came here; this says the same again.
fn head_error(plan: &ProbePlan, call: &MethodCall, error: &MethodError) -> HeadError {
    HeadError::new(plan, "method", &call.method, error)
}

fn schema(plan: &ProbePlan, status: GrpcStatus, why: &str) -> Failure {
    Failure {
        status,
        class: FailureClass::Schema,
        phase: FailurePhase::Resolve,
        detail: format!(
            "learn the messages of {} through {}: {why}",
            plan.call.method(),
            failure::place(plan)
        ),
    }
}

/// What was learnt does not fit what is configured.
fn misfit(plan: &ProbePlan, error: &MethodError) -> Failure {
    let (status, advice) = match error {
        MethodError::Descriptors(_) => (GrpcStatus::Internal, "name a descriptor_set in place of reflection"),
        MethodError::NoService(..) | MethodError::NoMethod(..) => {
            (GrpcStatus::Unimplemented, "correct probe.method")
        }
        MethodError::ClientStreaming(_) => (GrpcStatus::Unimplemented, "correct probe.method"),
        MethodError::Request { .. } => (GrpcStatus::InvalidArgument, "correct probe.request_json"),
        MethodError::Field { .. } => (GrpcStatus::InvalidArgument, "correct the [[probe.expect]]"),
    };
    schema(plan, status, &format!("{error}: {advice}"))
}

/// Somebody else asks, and has no answer yet.
fn still_learning(plan: &ProbePlan) -> Failure {
    let why = format!(
        "no answer of the service's reflection within {:?}: see whether it answers, or name a descriptor_set",
        plan.deadline
    );
    schema(plan, GrpcStatus::DeadlineExceeded, &why)
}
