use super::server::{Reflection, serve};
use super::*;
use prost::Message;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ErrorResponse, ServerReflectionResponse};

#[tokio::test]
async fn a_request_in_json_is_sent_by_either_version_of_reflection() {
    for reflection in [Reflection::V1, Reflection::V1Alpha] {
        let (address, _) = serve(reflection).await;
        let request = r#"{"id": "7", "numbers": [3], "labels": {"region": "sg"}, "kind": "KIND_OPEN"}"#;
        let plan = expecting(plan(address, "Get", request), field("items[0].itemName"), "item-3");
        let plan = expecting(plan, field("labels.region"), "sg");
        for connection in [Connection::Fresh, Connection::Reused] {
            let sample = take(&probe(plan.clone()), connection).await;
            assert_eq!(sample.outcome, Outcome::Ok);
            let answer = &sample.answer.messages[0];
            assert_eq!((&answer["id"], &answer["kind"]), (&json!("7"), &json!("KIND_OPEN")));
            assert!(sample.total().is_some() && sample.answer.stream.is_none());
        }
    }
}

#[tokio::test]
async fn a_descriptor_set_needs_no_reflection() {
    let (address, counts) = serve(Reflection::Absent).await;
    let sample = sample(with_set(plan(address, "Get", r#"{"id": "7"}"#))).await;
    assert_eq!((sample.outcome, counts.reflections()), (Outcome::Ok, 0));
}

#[tokio::test]
async fn a_service_is_asked_once_for_all_samples() {
    let (address, counts) = serve(Reflection::V1).await;
    let probe = probe(plan(address, "Get", r#"{"id": "7"}"#));
    let (first, second) = tokio::join!(take(&probe, Connection::Fresh), take(&probe, Connection::Reused));
    assert_eq!((first.outcome, second.outcome), (Outcome::Ok, Outcome::Ok));
    let asked = counts.reflections();
    for _ in 0..3 {
        assert_eq!(take(&probe, Connection::Reused).await.outcome, Outcome::Ok);
        assert_eq!(take(&probe, Connection::Fresh).await.outcome, Outcome::Ok);
    }
    assert_eq!(counts.reflections(), asked, "samples do not ask");
}

#[tokio::test]
async fn a_service_without_reflection_is_told_from_one_that_is_down() {
    let (address, counts) = serve(Reflection::Absent).await;
    let probe = probe(plan(address, "Get", "{}"));
    let sample = take(&probe, Connection::Reused).await;
    is_schema(failure(&sample), GrpcStatus::Unimplemented, "offers no reflection, neither v1 nor v1alpha");
    assert!(failure(&sample).detail.contains("descriptor_set") && sample.total().is_none());
    let asked = counts.reflections();
    is_schema(failure(&take(&probe, Connection::Fresh).await), GrpcStatus::Unimplemented, "no reflection");
    assert_eq!(counts.reflections(), asked, "who has no answer is not asked by every sample");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let sample = super::sample(plan(closed, "Get", "{}")).await;
    assert_eq!(failure(&sample).class, FailureClass::Refused);
}

#[tokio::test]
async fn a_reflection_that_never_answers_fails_each_sample_at_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plan = plan(listener.local_addr().unwrap(), "Get", "{}");
    plan.deadline = Duration::from_millis(300);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut held = Vec::new();
        while let Some(Ok(stream)) = connection.accept().await {
            held.push(stream);
        }
    });
    let probe = probe(plan);
    let start = Instant::now();
    let (first, second) = tokio::join!(take(&probe, Connection::Fresh), take(&probe, Connection::Reused));
    assert!(start.elapsed() < Duration::from_secs(3), "they wait together: {:?}", start.elapsed());
    assert_eq!(failure(&first).status, GrpcStatus::DeadlineExceeded, "{first:?}");
    assert_eq!(failure(&second).status, GrpcStatus::DeadlineExceeded, "{second:?}");
}

/// A reflection that answers each question with the status OK, and in its message with an error. Counts questions.
async fn answering_with_an_error(code: i32, text: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let error = ErrorResponse { error_code: code, error_message: text.to_owned() };
    let response = ServerReflectionResponse {
        message_response: Some(MessageResponse::ErrorResponse(error)),
        ..ServerReflectionResponse::default()
    };
    let message = response.encode_to_vec();
    let framed = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            counting.fetch_add(1, Ordering::SeqCst);
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            body.send_data(framed.clone().into(), false).unwrap();
            let status = ("grpc-status".parse().unwrap(), http::HeaderValue::from_static("0"));
            body.send_trailers([status].into_iter().collect()).unwrap();
        }
    });
    (address, asked)
}

#[tokio::test]
async fn an_error_inside_a_good_answer_of_reflection_is_told_as_it_says() {
    let long = "x".repeat(201);
    for (code, text, status, told) in [
        (
            5,
            "symbol not found: shop.v1.Shop",
            GrpcStatus::NotFound,
            "NOT_FOUND: \"symbol not found: shop.v1.Shop\"",
        ),
        (
            7,
            "not for \"you\"\n",
            GrpcStatus::PermissionDenied,
            "PERMISSION_DENIED: \"not for \\\"you\\\"\\n\"",
        ),
        // Unlike a server that does not know the version: the older one is not tried.
        (12, "no symbols here", GrpcStatus::Unimplemented, "UNIMPLEMENTED: \"no symbols here\""),
        (-1, "what", GrpcStatus::Unknown, "UNKNOWN: \"what\""),
        (
            13,
            &*long.clone().leak(),
            GrpcStatus::Internal,
            &format!("INTERNAL: \"{}\": correct", &long[..200]),
        ),
    ] {
        let (address, asked) = answering_with_an_error(code, text).await;
        let probe = probe(plan(address, "Get", "{}"));
        let sample = take(&probe, Connection::Reused).await;
        is_schema(failure(&sample), status, &format!("its reflection says {told}"));
        assert!(failure(&sample).detail.contains("correct probe.method") && sample.total().is_none());
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{code}");
    }
}

#[tokio::test]
async fn what_does_not_fit_the_service_is_told_with_its_place() {
    let (address, _) = serve(Reflection::V1).await;
    let unknown = sample(plan(address, "Get", "{\n \"idd\": \"hunter2\"}")).await;
    is_schema(failure(&unknown), GrpcStatus::InvalidArgument, "line 2");
    is_schema(failure(&unknown), GrpcStatus::InvalidArgument, "unrecognized field name 'idd'");
    assert!(!failure(&unknown).detail.contains("hunter2"));
    let method = sample(plan(address, "Gte", "{}")).await;
    is_schema(failure(&method), GrpcStatus::Unimplemented, "it has: Get, List, Upload");
    let upload = sample(plan(address, "Upload", "{}")).await;
    is_schema(failure(&upload), GrpcStatus::Unimplemented, "takes a stream of requests");
    let rule = sample(expecting(plan(address, "Get", "{}"), field("nothing"), "x")).await;
    is_schema(failure(&rule), GrpcStatus::InvalidArgument, "has no field \"nothing\"");
    let mut other = plan(address, "Get", "{}");
    if let Call::Method(call) = &mut other.call {
        call.method = "/shop.v2.Shop/Get".to_owned();
    }
    is_schema(failure(&sample(other).await), GrpcStatus::NotFound, "its reflection says NOT_FOUND");
}

#[tokio::test]
async fn a_status_that_is_expected_is_a_good_answer_with_a_latency() {
    let (address, _) = serve(Reflection::V1).await;
    let none = || plan(address, "Get", r#"{"id": "none"}"#);
    let not_found = [GrpcStatus::NotFound];
    let sample = sample(expecting(statuses(none(), &not_found), field("id"), "never")).await;
    assert_eq!((&sample.outcome, sample.answer.status), (&Outcome::Ok, GrpcStatus::NotFound));
    assert!(sample.total().is_some() && sample.is_measurement());

    let unexpected = super::sample(none()).await;
    assert_eq!(failure(&unexpected).class, FailureClass::Status);
    let ok = super::sample(statuses(plan(address, "Get", r#"{"id": "7"}"#), &not_found)).await;
    let found = failure(&ok);
    assert_eq!((found.class, found.status), (FailureClass::Expectation, GrpcStatus::Unknown));
    assert!(found.detail.contains("the status is OK, and must be NOT_FOUND"), "{found:?}");
    assert!(ok.phases.rpc().is_some(), "how long it took is known all the same");
    let broken = statuses(plan(address, "Get", r#"{"id": "broken"}"#), &not_found);
    assert_eq!(failure(&super::sample(broken).await).class, FailureClass::Status);
}

#[tokio::test]
async fn fields_headers_and_trailers_are_held_against_their_rules() {
    let (address, _) = serve(Reflection::V1).await;
    let get = || plan(address, "Get", r#"{"id": "7", "numbers": [3]}"#);
    let header = |value| expecting(get(), Subject::Header("x-served-by".into()), value);
    assert_eq!(sample(header("shop-1")).await.outcome, Outcome::Ok);
    let cases = [
        (header("shop-2"), "header x-served-by is \"shop-1\", and must be \"shop-2\""),
        (expecting(get(), Subject::Trailer("x-region".into()), "sg"), "trailer x-region is not there"),
        (
            expecting(get(), field("items[0].amount"), "4"),
            "field items[0].amount is \"3\", and must be \"4\"",
        ),
    ];
    for (plan, text) in cases {
        let sample = sample(plan).await;
        let found = failure(&sample);
        assert_eq!((found.class, found.phase), (FailureClass::Expectation, FailurePhase::Response));
        assert!(found.detail.contains(text), "{found:?}");
    }
}
