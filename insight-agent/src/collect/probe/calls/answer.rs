//! Is an answer what the probe's configuration expects? Its status, its metadata, its messages.

use crate::collect::probe::call::RequestHead;
use crate::collect::probe::failure;
use crate::collect::probe::message::BadReply;
use crate::model::expect::Expectations;
use crate::model::outcome::{Failure, FailureClass, FailurePhase, GrpcStatus};
use crate::model::plan::ProbePlan;
use crate::model::sample::Answer;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// All of an answer but its body.
pub(in crate::collect::probe) struct Metadata<'a> {
    pub(in crate::collect::probe) http: StatusCode,
    pub(in crate::collect::probe) headers: &'a HeaderMap,
    /// **None**: it has none, or they were not waited for.
    pub(in crate::collect::probe) trailers: Option<&'a HeaderMap>,
}

impl Metadata<'_> {
    /// Whether gRPC, and no proxy in front of it, says how the call ended.
    fn has_status(&self) -> bool {
        self.trailers.is_some_and(|trailers| trailers.contains_key("grpc-status"))
            || self.headers.contains_key("grpc-status")
    }
}

/// Whether anybody looks into the messages.
pub(in crate::collect::probe) fn wants_messages(head: &RequestHead) -> bool {
    let has_rules = head.method.as_ref().is_some_and(|method| method.expect().fields().next().is_some());
    head.keep_answers || has_rules
}

/// The status of an answer that is good so far; `cut`: its trailers were not waited for.
pub(in crate::collect::probe) fn judge(
    plan: &ProbePlan,
    head: &RequestHead,
    metadata: &Metadata<'_>,
    cut: bool,
) -> Result<GrpcStatus, Failure> {
    let expect = head.method.as_ref().map_or(&plan.expect, |method| method.expect());
    let status = if cut {
        GrpcStatus::Ok
    } else {
        match failure::judge(plan, metadata.http, metadata.headers, metadata.trailers) {
            Ok(()) => GrpcStatus::Ok,
            Err(failure) if metadata.has_status() && expect.takes(failure.status) => failure.status,
            // Who failed says more than that something else was expected.
            Err(failure) => return Err(failure),
        }
    };
    if !expect.takes(status) {
        let expected: Vec<_> = expect.statuses.iter().map(|status| status.as_str()).collect();
        let why = format!("the status is {}, and must be {}", status.as_str(), expected.join(" or "));
        return Err(broken(plan, status, &why));
    }
    match metadata_rule(expect, metadata, cut) {
        Some(why) => Err(broken(plan, status, &why)),
        None => Ok(status),
    }
}

fn metadata_rule(expect: &Expectations, metadata: &Metadata<'_>, cut: bool) -> Option<String> {
    let nothing = HeaderMap::new();
    // Of a stream that was cut there are no trailers, and its headers are not them.
    let trailers = metadata.trailers.or(cut.then_some(&nothing));
    expect.broken_by_metadata(metadata.headers, trailers)
}

/// Holds the messages against the rules, and keeps them if they are wanted.
pub(in crate::collect::probe) fn read_messages(
    plan: &ProbePlan,
    head: &RequestHead,
    messages: &[Bytes],
    answer: &mut Answer,
) -> Result<(), Failure> {
    let Some(method) = head.method.as_ref().filter(|_| wants_messages(head)) else { return Ok(()) };
    let mut verdict = Ok(());
    for (message, nth) in messages.iter().zip(1_usize..) {
        let value =
            method.answer(message).map_err(|error| failure::bad_reply(plan, &BadReply::Unreadable(error)))?;
        if verdict.is_ok()
            && let Some(why) = method.expect().broken_by_message(&value)
        {
            let why = if method.is_streaming() { format!("message {nth}: {why}") } else { why };
            verdict = Err(broken(plan, answer.status, &why));
        }
        if head.keep_answers {
            answer.messages.push(value);
        }
    }
    verdict
}

/// No failure counts among the answers that are OK: what says so and is wrong is of unknown status.
fn broken(plan: &ProbePlan, status: GrpcStatus, why: &str) -> Failure {
    Failure {
        status: if status == GrpcStatus::Ok { GrpcStatus::Unknown } else { status },
        class: FailureClass::Expectation,
        phase: FailurePhase::Response,
        detail: format!(
            "call {} through {}: {why}: see the service, or what the probe expects",
            plan.call.method(),
            failure::place(plan)
        ),
    }
}
