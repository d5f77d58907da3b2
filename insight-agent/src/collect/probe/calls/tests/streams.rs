use super::server::{Reflection, serve};
use super::*;

#[tokio::test]
async fn a_gap_between_messages_comes_back_as_that_gap() {
    let (address, _) = serve(Reflection::V1).await;
    let request = r#"{"messages": 6, "gap_ms": 300, "gap_after": 4}"#;
    let probe = probe(plan(address, "List", request));
    for connection in [Connection::Reused, Connection::Fresh] {
        let sample = take(&probe, connection).await;
        assert_eq!(sample.outcome, Outcome::Ok);
        let stream = sample.answer.stream.unwrap();
        let (first, gap) = (stream.first_message.unwrap(), stream.largest_gap.unwrap());
        assert_eq!((stream.messages, stream.cut), (6, false));
        let bounds = Duration::from_millis(290)..Duration::from_secs(3);
        assert!(bounds.contains(&gap), "{stream:?}");
        assert!(first < gap && first <= sample.phases.rpc().unwrap(), "{stream:?}");
        assert!(sample.phases.response.unwrap() >= gap, "the response ends with the trailers: {sample:?}");
        assert_eq!(sample.answer.messages.len(), 6);
    }
}

#[tokio::test]
async fn a_stream_without_messages_is_good_and_has_no_first_one() {
    let (address, _) = serve(Reflection::V1).await;
    let sample = sample(plan(address, "List", "{}")).await;
    let stream = sample.answer.stream.unwrap();
    assert_eq!((sample.outcome, stream), (Outcome::Ok, Default::default()));
}

#[tokio::test]
async fn an_endless_stream_is_cut_after_the_most_messages_that_are_read() {
    let (address, _) = serve(Reflection::V1).await;
    let mut plan = plan(address, "List", r#"{"messages": 4000000000}"#);
    if let Call::Method(call) = &mut plan.call {
        call.max_messages = 5;
    }
    let probe = probe(plan);
    for _ in 0..3 {
        let sample = take(&probe, Connection::Reused).await;
        let stream = sample.answer.stream.unwrap();
        assert_eq!((&sample.outcome, stream.messages, stream.cut), (&Outcome::Ok, 5, true));
        assert!(sample.total().is_some());
    }
}

#[tokio::test]
async fn a_stream_that_breaks_fails_and_says_how_far_it_came() {
    let (address, _) = serve(Reflection::V1).await;
    let sample = sample(plan(address, "List", r#"{"messages": 2, "breaks": true}"#)).await;
    let found = failure(&sample);
    assert_eq!((found.class, found.status), (FailureClass::Status, GrpcStatus::DataLoss));
    assert_eq!(sample.answer.stream.unwrap().messages, 2);
}

#[tokio::test]
async fn every_message_of_a_stream_must_keep_the_rules() {
    let (address, _) = serve(Reflection::V1).await;
    let plan = expecting(plan(address, "List", r#"{"messages": 3}"#), field("id"), "0");
    let sample = sample(plan).await;
    let found = failure(&sample);
    assert_eq!(found.class, FailureClass::Expectation);
    assert!(found.detail.contains("message 2: field id is \"1\", and must be \"0\""), "{found:?}");
}
