//! Failures of a prober that stood still, and of paths that did.

use super::session::judged;
use super::{LinkProbe, Probe};
use crate::model::outcome::{Failure, FailureClass, FailurePhase, GrpcStatus};
use crate::model::plan::{Call, Connection, LinkEnds, Mode, ProbePlan};
use crate::model::sample::Outcome;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn plan(address: SocketAddr) -> ProbePlan {
    ProbePlan { deadline: ms(200), drain: ms(200), ..ProbePlan::example(address) }
}

fn failure(class: FailureClass, status: GrpcStatus) -> Failure {
    Failure { status, class, phase: FailurePhase::Wait, detail: "why".into() }
}

#[test]
fn a_deadline_is_void_only_if_nobody_looked_for_a_whole_deadline() {
    let plan = plan("127.0.0.1:1".parse().unwrap());
    let judged = |own: Option<Duration>, took| {
        judged(failure(FailureClass::Deadline, GrpcStatus::DeadlineExceeded), &plan, own, took)
    };
    let voided = |own, took| matches!(judged(own, took), Outcome::Voided(Some(_)));
    assert!(!voided(None, ms(400)), "the kernel does not tell");
    assert!(!voided(Some(ms(100)), ms(250)), "exactly the share is not more than it");
    assert!(voided(Some(ms(101)), ms(250)));
    assert!(voided(Some(ms(3000)), ms(3100)));
    assert!(!voided(Some(ms(150)), ms(400)), "it looked for 250 ms of the 200 that were enough");
    assert!(!voided(Some(ms(3000)), ms(3200)));
}

#[test]
fn an_answer_is_never_void_whoever_stood_still() {
    let plan = plan("127.0.0.1:1".parse().unwrap());
    let judged = |class, status| judged(failure(class, status), &plan, Some(ms(900)), ms(1000));
    for class in [
        FailureClass::Refused,
        FailureClass::Unreachable,
        FailureClass::Proxy,
        FailureClass::Status,
        FailureClass::Misrouted,
        FailureClass::NotServing,
        FailureClass::Protocol,
        FailureClass::Local,
    ] {
        let outcome = judged(class, GrpcStatus::DeadlineExceeded);
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    }
    // An alert is an answer, silence is none.
    assert!(matches!(judged(FailureClass::Tls, GrpcStatus::Unavailable), Outcome::Failed(_)));
    assert!(matches!(judged(FailureClass::Tls, GrpcStatus::DeadlineExceeded), Outcome::Voided(Some(_))));
    assert!(matches!(judged(FailureClass::Dns, GrpcStatus::DeadlineExceeded), Outcome::Voided(Some(_))));
    // Peers close connections on which they hear nothing.
    assert!(matches!(judged(FailureClass::Reset, GrpcStatus::Unavailable), Outcome::Voided(Some(_))));
}

/// Keeps this thread from looking at anything, from 20 ms after now on.
fn stall(length: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(ms(20)).await;
        std::thread::sleep(length);
    });
}

#[tokio::test]
async fn a_prober_that_stands_still_past_the_deadline_blames_nobody() {
    // It accepts (the kernel does) and says nothing, as far as a prober can tell that does not look.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plan = plan(listener.local_addr().unwrap());
    let probe = Probe::new(Arc::new(plan.clone())).unwrap();
    for connection in [Connection::Reused, Connection::Fresh] {
        stall(ms(600));
        let (sample, _) = probe.sample(connection, Instant::now()).await;
        assert!(sample.is_voided(), "{sample:?}");
        assert!(sample.stalled >= ms(500) && sample.stalled <= sample.took, "{sample:?}");
    }
    let call = Call::Link(LinkEnds { from: "a".into(), to: "b".into() });
    let link = LinkProbe::new(Arc::new(ProbePlan { mode: Mode::Link, call, ..plan })).unwrap();
    stall(ms(600));
    let (sample, _) = link.sample(Connection::Reused, Instant::now()).await;
    assert!(sample.unwrap().is_voided());
}

#[tokio::test]
async fn a_peer_that_stands_still_is_blamed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let probe = Probe::new(Arc::new(plan(listener.local_addr().unwrap()))).unwrap();
    // One of several: a loaded host stalls a prober now and then.
    let mut outcomes = Vec::new();
    for _ in 0..5 {
        outcomes.push(probe.sample(Connection::Fresh, Instant::now()).await.0.outcome);
    }
    let blamed = outcomes.iter().any(|outcome| {
        matches!(outcome, Outcome::Failed(failure)
            if (failure.class, failure.phase) == (FailureClass::NoSettings, FailurePhase::Http2))
    });
    assert!(blamed, "{outcomes:?}");
}
