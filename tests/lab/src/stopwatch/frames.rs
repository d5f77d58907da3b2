//! HTTP/2 frames and gRPC messages as bytes. Pure.

use prost::Message;
use std::time::{Duration, Instant};

/// What a client says first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes before a frame's payload.
pub(super) const HEAD: usize = 9;

/// The connection's window for bodies, in bytes.
pub(super) const WINDOW: u32 = 1 << 30;

/// What a connection's window is at first, by the protocol.
const FIRST_WINDOW: u32 = 65_535;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A setting: the window of each stream for bodies.
const INITIAL_WINDOW_SIZE: u16 = 4;

/// `:status: 200`, by the static table.
const OK: u8 = 0x88;

/// A request that is whole, and when its answer is due.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) stream: u32,
    pub(super) due: Instant,
}

/// What of a request matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) delay: Duration,
    sequence: u64,
}

/// The fields of `insight.v1.MeasureRequest` that it reads.
#[derive(Clone, PartialEq, Message)]
struct MeasureRequest {
    #[prost(uint64, tag = "3")]
    delay_ns: u64,
    #[prost(uint64, tag = "4")]
    sequence: u64,
}

/// The fields of `insight.v1.MeasureResponse` that it writes.
#[derive(Clone, PartialEq, Message)]
struct MeasureResponse {
    #[prost(uint64, tag = "1")]
    receive_to_send_ns: u64,
    #[prost(uint64, tag = "3")]
    applied_delay_ns: u64,
    #[prost(uint64, tag = "6")]
    sequence: u64,
}

/// A frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: &'a [u8],
}

/// The first frame, and its length with its head. **None**: it has not come whole.
pub(super) fn read(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let [a, b, c, kind, flags, stream @ ..] = *head;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    let payload = rest.get(..length)?;
    let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
    Some((Frame { kind, flags, stream, payload }, HEAD + length))
}

fn put(into: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    into.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    into.extend_from_slice(&[kind, flags]);
    into.extend_from_slice(&stream.to_be_bytes());
    into.extend_from_slice(payload);
}

/// SETTINGS with large windows.
pub(super) fn greeting() -> Vec<u8> {
    let mut setting = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
    setting.extend_from_slice(&WINDOW.to_be_bytes());
    let mut bytes = Vec::new();
    put(&mut bytes, SETTINGS, 0, 0, &setting);
    bytes.extend(window_update(WINDOW - FIRST_WINDOW));
    bytes
}

/// So many bytes more may come.
pub(super) fn window_update(bytes: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    put(&mut frame, WINDOW_UPDATE, 0, 0, &bytes.to_be_bytes());
    frame
}

/// The answer to SETTINGS or PING.
pub(super) fn acknowledged(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let payload = if frame.kind == PING { frame.payload } else { &[] };
    put(&mut bytes, frame.kind, ACK, 0, payload);
    bytes
}

impl Request {
    /// Of a gRPC body. **None**: it is none.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let message = body.split_first_chunk::<5>()?.1;
        let MeasureRequest { delay_ns, sequence } = MeasureRequest::decode(message).ok()?;
        Some(Self { delay: Duration::from_nanos(delay_ns), sequence })
    }
}

/// Headers, message and trailers, in one piece.
pub(super) fn answer(stream: u32, request: &Request, took: Duration) -> Vec<u8> {
    let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let message = MeasureResponse {
        receive_to_send_ns: nanoseconds(took),
        applied_delay_ns: nanoseconds(request.delay),
        sequence: request.sequence,
    };
    let mut body = vec![0];
    body.extend_from_slice(&(message.encoded_len() as u32).to_be_bytes());
    body.extend(message.encode_to_vec());
    let mut headers = vec![OK];
    literal(&mut headers, "content-type", "application/grpc");
    let mut trailers = Vec::new();
    literal(&mut trailers, "grpc-status", "0");
    let mut bytes = Vec::with_capacity(128);
    put(&mut bytes, HEADERS, END_HEADERS, stream, &headers);
    put(&mut bytes, DATA, 0, stream, &body);
    put(&mut bytes, HEADERS, END_HEADERS | END_STREAM, stream, &trailers);
    bytes
}

/// A field that no table has. Both lengths are below 127, which one byte holds.
fn literal(into: &mut Vec<u8>, name: &str, value: &str) {
    into.push(0);
    for text in [name, value] {
        into.push(text.len() as u8);
        into.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back_once_it_is_whole() {
        let mut bytes = Vec::new();
        put(&mut bytes, DATA, END_STREAM, 7, b"abc");
        let whole = bytes.len();
        assert_eq!(read(&bytes[..whole - 1]), None);
        bytes.push(9);
        let expected = Frame { kind: DATA, flags: END_STREAM, stream: 7, payload: b"abc" };
        assert_eq!(read(&bytes), Some((expected, whole)));
    }

    #[test]
    fn a_request_is_its_delay_and_number() {
        let message = MeasureRequest { delay_ns: 1_500, sequence: 9 }.encode_to_vec();
        let body = [&[0, 0, 0, 0, message.len() as u8], &message[..]].concat();
        let expected = Request { delay: Duration::from_nanos(1_500), sequence: 9 };
        assert_eq!(Request::read(&body), Some(expected));
        assert_eq!(Request::read(&body[..4]), None);
    }

    #[test]
    fn an_answer_says_how_long_it_took() {
        let request = Request { delay: Duration::from_micros(7), sequence: 3 };
        let bytes = answer(5, &request, Duration::from_micros(8));
        let (headers, length) = read(&bytes).unwrap();
        assert_eq!((headers.kind, headers.stream, headers.payload[0]), (HEADERS, 5, OK));
        let (data, more) = read(&bytes[length..]).unwrap();
        let message = MeasureResponse::decode(&data.payload[5..]).unwrap();
        assert_eq!(
            (message.receive_to_send_ns, message.applied_delay_ns, message.sequence),
            (8_000, 7_000, 3)
        );
        let (trailers, rest) = read(&bytes[length + more..]).unwrap();
        assert_eq!((trailers.flags, length + more + rest), (END_HEADERS | END_STREAM, bytes.len()));
    }
}
