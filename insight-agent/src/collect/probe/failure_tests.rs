//! Tests of the failure table.

use super::*;
use crate::model::plan::RoutePlan;
use proptest::prelude::*;

fn plan() -> ProbePlan {
    let plan = ProbePlan::example(([127, 0, 0, 1], 15080).into());
    let route = RoutePlan { name: "via-a".into(), authority: "a".into(), ..plan.route };
    ProbePlan { route, connections: vec![], max_in_flight: 1, ..plan }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(k, v)| (http::HeaderName::from_static(k), v.parse().unwrap())).collect()
}

fn judged(status: u16, head: &[(&'static str, &str)], tail: Option<&[(&'static str, &str)]>) -> Failure {
    let status = StatusCode::from_u16(status).unwrap();
    judge(&plan(), status, &headers(head), tail.map(headers).as_ref()).unwrap_err()
}

#[test]
fn trailers_with_status_zero_are_a_good_answer() {
    assert_eq!(
        judge(&plan(), StatusCode::OK, &headers(&[]), Some(&headers(&[("grpc-status", "0")]))),
        Ok(())
    );
}

#[test]
fn an_http_error_without_grpc_status_names_a_proxy_and_who_wrote_it() {
    let found = judged(502, &[("server", "nginx/1.22.1")], None);
    assert_eq!((found.status, found.class), (GrpcStatus::Unavailable, FailureClass::Proxy));
    assert!(found.detail.contains("nginx/1.22.1") && found.detail.contains("via-a"), "{}", found.detail);
}

#[test]
fn a_404_and_unimplemented_are_configuration_not_an_outage() {
    assert_eq!(judged(404, &[], None).class, FailureClass::Misrouted);
    let found = judged(200, &[("grpc-status", "12")], None);
    assert_eq!((found.status, found.class), (GrpcStatus::Unimplemented, FailureClass::Misrouted));
}

#[test]
fn a_status_in_trailers_names_the_service_with_its_decoded_message() {
    let found = judged(200, &[], Some(&[("grpc-status", "14"), ("grpc-message", "no%20route%3A sg %zz")]));
    assert_eq!((found.status, found.class), (GrpcStatus::Unavailable, FailureClass::Status));
    assert!(found.detail.contains("no route: sg %zz"), "{}", found.detail);
}

#[test]
fn an_answer_that_is_no_grpc_is_a_protocol_failure() {
    assert_eq!(judged(200, &[], None).class, FailureClass::Protocol);
    assert_eq!(judged(200, &[("grpc-status", "many")], None).status, GrpcStatus::Unknown);
}

#[test]
fn socket_errors_become_classes_with_advice() {
    let classed = |kind: io::ErrorKind| connect(&plan(), &kind.into());
    assert_eq!(classed(io::ErrorKind::ConnectionRefused).class, FailureClass::Refused);
    assert_eq!(classed(io::ErrorKind::TimedOut).class, FailureClass::ConnectTimeout);
    assert_eq!(classed(io::ErrorKind::HostUnreachable).class, FailureClass::Unreachable);
    assert!(classed(io::ErrorKind::ConnectionRefused).detail.contains("nothing listens"));
}

proptest! {
    #[test]
    fn any_message_is_decoded_and_short(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(percent_decoded(&bytes).chars().count() <= MAX_TEXT + 1);
    }
}
