//! One gRPC request on a connection of its own, as bytes: HTTP/2 with prior knowledge, without
//! indexing, so that every connection sends the same and no state has to be kept for thousands.

use anyhow::{Context, Result, bail, ensure};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A forwarder that takes longer, also beside compilers, does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Frame types and flags (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Length of a frame's head.
const HEAD: usize = 9;

/// Everything that a caller writes: preface, settings, headers and an empty gRPC message.
pub fn request(target: SocketAddr) -> Vec<u8> {
    // Entries of HPACK's static table: POST, http, and the names of a path, an authority and a
    // content type, each with a literal that nobody shall index (RFC 7541, section 6.2.2).
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &str| {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).expect("literals here are shorter than 127 bytes"));
        block.extend_from_slice(value.as_bytes());
    };
    literal(&[0x04], "/insight.bench.v1.Bench/Do");
    literal(&[0x01], &target.to_string());
    literal(&[0x0f, 0x10], "application/grpc");
    literal(b"\x00\x02te", "trailers");
    [
        PREFACE,
        &frame(SETTINGS, 0, 0, &[]),
        &frame(HEADERS, END_HEADERS, 1, &block),
        &frame(DATA, END_STREAM, 1, &[0; 5]),
    ]
    .concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("payloads here are shorter than 16 KiB").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Connects, asks, and reads until the answer's end. The connection stays open.
///
/// # Errors
/// Nobody accepts, or the answer is none, or not of status 200.
pub fn call(target: SocketAddr, request: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE)).context("limit reads")?;
    stream.write_all(request).context("send the request")?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut part).context("read the answer")?;
        ensure!(length > 0, "the connection ended after {} bytes of the answer", answer.len());
        answer.extend_from_slice(&part[..length]);
        if is_answered(&answer)? {
            return Ok(stream);
        }
    }
}

/// Has the connection end with a reset when it is closed, and not with a FIN.
///
/// # Errors
/// The kernel refuses.
pub fn abort_on_close(stream: &TcpStream) -> Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(stream, sockopt::Linger, &linger).context("let go at once when closed")
}

/// Whether what was read so far holds all of a good answer.
fn is_answered(mut read: &[u8]) -> Result<bool> {
    let mut is_head = true;
    while let Some((head, rest)) = read.split_at_checked(HEAD) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((payload, rest)) = rest.split_at_checked(length) else { return Ok(false) };
        let (kind, flags, is_ours) = (head[3], head[4], head[5..9] == [0, 0, 0, 1]);
        match kind {
            RST_STREAM | GOAWAY => bail!("the forwarder ended the stream (frame type {kind})"),
            HEADERS if is_ours && is_head => {
                // A change of the table's size may stand first; 0x88 is status 200.
                let first = payload.iter().find(|byte| **byte & 0xe0 != 0x20);
                ensure!(first == Some(&0x88), "the answer's headers begin with {first:?}: no status 200");
                is_head = false;
            }
            _ => {}
        }
        if is_ours && flags & END_STREAM != 0 && matches!(kind, DATA | HEADERS) {
            return Ok(true);
        }
        read = rest;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u8) -> Vec<u8> {
        [
            frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 128]),
            frame(HEADERS, END_HEADERS, 1, &[0x20, status, 0x76]),
            frame(DATA, 0, 1, &[0; 5]),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x0bgrpc-status\x010"),
        ]
        .concat()
    }

    #[test]
    fn an_answer_ends_with_its_stream_and_not_before() {
        let whole = answer(0x88);
        for length in 0..whole.len() {
            assert!(!is_answered(&whole[..length]).unwrap(), "{length} of {}", whole.len());
        }
        assert!(is_answered(&whole).unwrap());
    }

    #[test]
    fn another_status_and_an_ended_stream_are_errors() {
        assert!(is_answered(&answer(0x8d)).unwrap_err().to_string().contains("no status 200"));
        assert!(is_answered(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 2])).is_err());
        assert!(is_answered(&frame(GOAWAY, 0, 0, &[0; 8])).is_err());
    }

    #[test]
    fn the_request_is_a_preface_and_three_frames() {
        let request = request("198.18.0.1:5051".parse().unwrap());
        let mut rest = request.strip_prefix(PREFACE).unwrap();
        let mut kinds = Vec::new();
        while let Some((head, behind)) = rest.split_at_checked(HEAD) {
            kinds.push((head[3], head[4]));
            rest = &behind[usize::from(head[1]) << 8 | usize::from(head[2])..];
        }
        assert!(rest.is_empty());
        assert_eq!(kinds, [(SETTINGS, 0), (HEADERS, END_HEADERS), (DATA, END_STREAM)]);
    }
}
