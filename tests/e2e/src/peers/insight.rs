//! An Insight receiver's messages, from `proto/insight/v1/probe.proto` and not from the agent's
//! code: a field number that changes there breaks the tests here.

use super::grpc::{Call, Reply};
use prost::Message;

/// The method of white-box probes.
pub const MEASURE: &str = "/insight.v1.Probe/Measure";

/// `insight.v1.MeasureRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct MeasureRequest {
    /// Bytes to be carried.
    #[prost(bytes = "vec", tag = "1")]
    pub payload: Vec<u8>,
    /// Bytes to be sent back.
    #[prost(uint32, tag = "2")]
    pub response_payload_bytes: u32,
    /// How long to wait, in nanoseconds.
    #[prost(uint64, tag = "3")]
    pub delay_ns: u64,
    /// The sender's number.
    #[prost(uint64, tag = "4")]
    pub sequence: u64,
}

/// `insight.v1.MeasureResponse`, the fields that tests use.
#[derive(Clone, PartialEq, Message)]
pub struct MeasureResponse {
    /// From arrival to this message, in nanoseconds.
    #[prost(uint64, tag = "1")]
    pub receive_to_send_ns: u64,
    /// The sender's number again.
    #[prost(uint64, tag = "6")]
    pub sequence: u64,
    /// The receiver's region.
    #[prost(string, tag = "7")]
    pub region: String,
}

/// The answer of a receiver that took 50 µs. `None`: the call is no readable Measure.
pub fn measured(call: &Call) -> Option<Reply> {
    let request = MeasureRequest::decode(call.message()?).ok().filter(|_| call.path == MEASURE)?;
    let response =
        MeasureResponse { receive_to_send_ns: 50_000, sequence: request.sequence, region: "sg".to_owned() };
    Some(Reply::of(&response.encode_to_vec()).trailer("x-insight-service", b"d=0.06"))
}
