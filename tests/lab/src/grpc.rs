//! The few parts of gRPC that a forwarder, a load generator and a test need to speak.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

/// Where every hop of the lab writes its timing: one value per hop, the outermost last.
pub const HOP_HEADER: HeaderName = HeaderName::from_static("x-insight-hop");
/// The status of a call, a number from 0 to 16.
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The text beside a status other than OK.
pub const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Codes of `grpc-status` that a forwarder answers with by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The upstream did not answer in time.
    DeadlineExceeded = 4,
    /// A limit of this hop is reached.
    ResourceExhausted = 8,
    /// No route leads to what the metadata asks for.
    Unimplemented = 12,
    /// The upstream cannot be reached, or broke off.
    Unavailable = 14,
}

/// A whole response in one HEADERS frame ("Trailers-Only"): the way gRPC reports a failure.
pub fn failure(code: Code, message: &str) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, HeaderValue::from(code as u16));
    headers.insert(MESSAGE, percent_encoded(message));
    response
}

/// `grpc-message` as the gRPC protocol wants it: bytes outside printable ASCII, and `%`, escaped.
fn percent_encoded(message: &str) -> HeaderValue {
    let mut text = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => text.push_str(&format!("%{byte:02X}")),
            printable => text.push(char::from(printable)),
        }
    }
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unprintable"))
}

/// A message behind its prefix: not compressed, length in 4 bytes.
pub fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// The `grpc-status` among `headers`; `None` when absent or not a number.
pub fn status(headers: &HeaderMap) -> Option<u16> {
    headers.get(STATUS)?.to_str().ok()?.parse().ok()
}

/// Every value of [`HOP_HEADER`], in wire order: the innermost hop first.
pub fn hop_values(headers: &HeaderMap) -> Vec<String> {
    headers.get_all(HOP_HEADER).iter().filter_map(|v| v.to_str().ok().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_message_survives_characters_that_headers_forbid() {
        let response = failure(Code::Unavailable, "mediary-a: 100% weg\n");
        assert_eq!(response.headers()[MESSAGE], "mediary-a: 100%25 weg%0A");
        assert_eq!(status(response.headers()), Some(14));
    }

    #[test]
    fn an_empty_message_is_five_bytes() {
        assert_eq!(framed(b"")[..], [0; 5]);
        assert_eq!(framed(b"ab")[..], [0, 0, 0, 0, 2, b'a', b'b']);
    }
}
