//! Methods, streams and watches against real tonic servers.

mod methods;
mod server;
mod streams;
mod watches;

use crate::collect::probe::session::Probe;
use crate::model::expect::{Checks, Expectations, Rule, Subject};
use crate::model::field_path::FieldPath;
use crate::model::method::DescriptorSet;
use crate::model::method::fixtures::shop;
use crate::model::outcome::{Failure, FailureClass, FailurePhase, GrpcStatus};
use crate::model::plan::{Call, Connection, MethodCall, ProbePlan};
use crate::model::sample::{Outcome, ProbeSample};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A probe that asks the shop, by reflection.
fn plan(address: SocketAddr, method: &str, request: &str) -> ProbePlan {
    ProbePlan {
        call: Call::Method(MethodCall {
            method: format!("/shop.v1.Shop/{method}"),
            request_json: request.to_owned(),
            descriptors: None,
            max_messages: 1000,
        }),
        deadline: Duration::from_secs(5),
        drain: Duration::from_secs(5),
        void_share: f64::INFINITY,
        ..ProbePlan::example(address)
    }
}

/// The same, with the messages out of a file.
fn with_set(mut plan: ProbePlan) -> ProbePlan {
    if let Call::Method(call) = &mut plan.call {
        call.descriptors = Some(Arc::new(DescriptorSet::parse(Path::new("shop.binpb"), shop()).unwrap()));
    }
    plan
}

fn expecting(mut plan: ProbePlan, subject: Subject, equals: &str) -> ProbePlan {
    let checks = Checks { equals: Some(equals.to_owned()), ..Checks::default() };
    plan.expect.rules.push(Rule { subject, checks });
    plan
}

fn field(path: &str) -> Subject {
    Subject::Field(FieldPath::parse(path).unwrap())
}

fn probe(plan: ProbePlan) -> Probe {
    Probe::new(Arc::new(plan)).unwrap().keeping_answers()
}

async fn take(probe: &Probe, connection: Connection) -> ProbeSample {
    probe.sample(connection, Instant::now()).await.0
}

async fn sample(plan: ProbePlan) -> ProbeSample {
    take(&probe(plan), Connection::Reused).await
}

fn failure(sample: &ProbeSample) -> &Failure {
    match &sample.outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("{other:?} is no failure"),
    }
}

fn is_schema(failure: &Failure, status: GrpcStatus, text: &str) {
    assert_eq!((failure.class, failure.phase), (FailureClass::Schema, FailurePhase::Resolve), "{failure:?}");
    assert!(failure.status == status && failure.detail.contains(text), "{failure:?}");
}

fn statuses(mut plan: ProbePlan, statuses: &[GrpcStatus]) -> ProbePlan {
    plan.expect = Expectations { statuses: statuses.to_vec(), ..plan.expect };
    plan
}
