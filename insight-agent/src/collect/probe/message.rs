//! The gRPC messages that probes send and read, with their five-byte frames.

use crate::model::figure::Figure;
use crate::model::plan::Call;
use crate::model::sample::ServiceTiming;
use crate::proto::v1::{MeasureRequest, MeasureResponse};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use std::time::Duration;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// Compressed-flag byte and big-endian length in front of every message.
/// **Source**: gRPC over HTTP/2, `Length-Prefixed-Message`.
pub(super) const FRAME_BYTES: usize = 5;

/// What a good answer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// It says no more than that it is one.
    Good,
    /// An Insight receiver's own figures.
    Measured(ServiceTiming),
}

/// Why an answer is not a good one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadReply {
    /// Not a message of this method.
    Unreadable(String),
    /// A health state other than SERVING.
    NotServing(&'static str),
    /// An answer to another request.
    Mismatched { sent: u64, received: u64 },
}

/// The framed request of a call.
pub(super) fn encode_request(call: &Call, sequence: u64) -> Bytes {
    match call {
        Call::Measure { request_bytes, response_bytes, delay } => frame(&MeasureRequest {
            payload: Bytes::from(vec![0; *request_bytes]),
            response_payload_bytes: u32::try_from(*response_bytes).unwrap_or(u32::MAX),
            delay_ns: u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX),
            sequence,
        }),
        Call::HealthCheck { service } => frame(&HealthCheckRequest { service: service.clone() }),
        Call::Unary { request, .. } => frame_bytes(request),
        Call::HealthWatch { service } => frame(&HealthCheckRequest { service: service.clone() }),
        // The first is framed once its messages are known; over the other nothing is asked.
        Call::Method(_) | Call::Link(_) => Bytes::new(),
    }
}

/// A serialised message with its frame.
pub(super) fn frame_bytes(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(FRAME_BYTES + message.len());
    put_frame_head(&mut framed, message.len());
    framed.put_slice(message);
    framed.freeze()
}

fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(FRAME_BYTES + length);
    put_frame_head(&mut framed, length);
    message.encode(&mut framed).expect("a BytesMut grows as needed");
    framed.freeze()
}

fn put_frame_head(framed: &mut BytesMut, length: usize) {
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// Reads the answer of a unary call: exactly one uncompressed message.
pub(super) fn decode_reply(call: &Call, sequence: u64, body: &[u8]) -> Result<Reply, BadReply> {
    let message = unframe(body)?;
    let unreadable = |error: prost::DecodeError| BadReply::Unreadable(error.to_string());
    match call {
        Call::Unary { .. } | Call::Method(_) | Call::HealthWatch { .. } | Call::Link(_) => Ok(Reply::Good),
        Call::HealthCheck { .. } => {
            match HealthCheckResponse::decode(message).map_err(unreadable)?.status() {
                ServingStatus::Serving => Ok(Reply::Good),
                ServingStatus::Unknown => Err(BadReply::NotServing("UNKNOWN")),
                ServingStatus::NotServing => Err(BadReply::NotServing("NOT_SERVING")),
                ServingStatus::ServiceUnknown => Err(BadReply::NotServing("SERVICE_UNKNOWN")),
            }
        }
        Call::Measure { .. } => {
            let reply = MeasureResponse::decode(message).map_err(unreadable)?;
            if reply.sequence != sequence {
                return Err(BadReply::Mismatched { sent: sequence, received: reply.sequence });
            }
            Ok(Reply::Measured(ServiceTiming {
                receive_to_send: Figure::from_duration(Duration::from_nanos(reply.receive_to_send_ns)),
                receive_to_trailers: None,
                runqueue_wait: reply.runqueue_wait_ns.map(Duration::from_nanos),
            }))
        }
    }
}

pub(super) fn unframe(body: &[u8]) -> Result<&[u8], BadReply> {
    let bad = |what: String| Err(BadReply::Unreadable(what));
    let Some((head, message)) = body.split_first_chunk::<FRAME_BYTES>() else {
        return bad(format!("{} bytes are too few for a gRPC message", body.len()));
    };
    let [compressed, length @ ..] = *head;
    let length = u32::from_be_bytes(length) as usize;
    if compressed != 0 {
        return bad("the message is compressed, although no encoding was offered".into());
    }
    if length != message.len() {
        return bad(format!("the frame promises {length} bytes and {} came", message.len()));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn measure(request_bytes: usize) -> Call {
        Call::Measure { request_bytes, response_bytes: 0, delay: Duration::ZERO }
    }

    #[test]
    fn a_receivers_answer_gives_its_duration() {
        let reply = MeasureResponse {
            receive_to_send_ns: 5,
            sequence: 9,
            runqueue_wait_ns: Some(2),
            ..Default::default()
        };
        let timing = ServiceTiming {
            receive_to_send: Figure::exact(5),
            receive_to_trailers: None,
            runqueue_wait: Some(Duration::from_nanos(2)),
        };
        assert_eq!(decode_reply(&measure(0), 9, &frame(&reply)), Ok(Reply::Measured(timing)));
        assert_eq!(
            decode_reply(&measure(0), 8, &frame(&reply)),
            Err(BadReply::Mismatched { sent: 8, received: 9 })
        );
    }

    #[test]
    fn only_serving_is_a_good_health_state() {
        let call = Call::HealthCheck { service: String::new() };
        let answer = |status: ServingStatus| {
            decode_reply(&call, 0, &frame(&HealthCheckResponse { status: status.into() }))
        };
        assert_eq!(answer(ServingStatus::Serving), Ok(Reply::Good));
        assert_eq!(answer(ServingStatus::NotServing), Err(BadReply::NotServing("NOT_SERVING")));
        // An empty message is state 0 = UNKNOWN, not SERVING.
        assert_eq!(decode_reply(&call, 0, &[0; 5]), Err(BadReply::NotServing("UNKNOWN")));
    }

    #[test]
    fn frames_that_lie_are_unreadable() {
        for body in [&[][..], &[0, 0, 0, 0], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 2, 1], &[0, 0, 0, 0, 0, 1]] {
            let call = Call::Unary { method: "/a/B".into(), request: vec![] };
            assert!(matches!(decode_reply(&call, 0, body), Err(BadReply::Unreadable(_))), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..64)) {
            for call in [measure(0), Call::HealthCheck { service: String::new() }] {
                let _: Result<Reply, BadReply> = decode_reply(&call, 0, &body);
            }
        }

        #[test]
        fn a_request_frame_holds_what_it_promises(length in 0_usize..5000) {
            let framed = encode_request(&measure(length), 3);
            let request = MeasureRequest::decode(unframe(&framed).unwrap()).unwrap();
            prop_assert_eq!((request.payload.len(), request.sequence), (length, 3));
        }
    }
}
