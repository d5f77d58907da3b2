//! Bad HTTP/2 at the receiver: what is slow, what is too large, and what is too much.

use crate::raw::{
    CONTINUATION, Caller, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, frame, grpc, header,
};
use crate::{Target, closed};
use insight_e2e::agent::Config;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const MEASURE: &str = "/insight.v1.Probe/Measure";

#[test]
fn prefaces_and_heads_that_do_not_end_are_closed_in_seconds() {
    let target = Target::start(&Config::new());
    let to = target.site.grpc();
    let start = Instant::now();
    let mut silent = TcpStream::connect(to).unwrap();
    let mut half_preface = TcpStream::connect(to).unwrap();
    half_preface.write_all(b"PRI * HTTP/2").unwrap();
    let mut no_request = Caller::connect(to);
    let mut half_head = Caller::connect(to);
    assert!(half_head.send(&frame(HEADERS, END_STREAM, 1, &grpc(MEASURE)[..20])));
    target.scrape_in_time();
    for stream in [&mut silent, &mut half_preface, &mut no_request.stream, &mut half_head.stream] {
        closed(stream);
    }
    let took = start.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(15)).contains(&took), "{took:?}");
    target.wait_refused("grpc", "no_request", 4.0);
}

#[test]
fn other_protocols_are_told_apart() {
    let target = Target::start(&Config::new());
    let mut stream = TcpStream::connect(target.site.grpc()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    closed(&mut stream);
    target.wait_refused("grpc", "malformed", 1.0);
}

#[test]
fn streams_beyond_the_limit_are_refused_one_by_one() {
    let target = Target::start(&Config::new());
    let mut caller = Caller::connect(target.site.grpc());
    for nth in 0..400u32 {
        assert!(caller.send(&frame(HEADERS, END_HEADERS, 2 * nth + 1, &grpc(MEASURE))));
    }
    let refused = caller.find(|frame| frame.kind == RST_STREAM).unwrap();
    assert_eq!(refused.code(), Some(7), "REFUSED_STREAM, not {refused:?}");
    target.wait_refused("grpc", "too_many_streams", 1.0);
}

#[test]
fn requests_of_all_connections_together_are_bounded() {
    let target = Target::start(&Config::new());
    // Twelve connections with as many streams as each may have, waiting for bodies that do not come.
    let mut callers: Vec<_> = (0..12).map(|_| Caller::connect(target.site.grpc())).collect();
    for caller in &mut callers {
        for nth in 0..100u32 {
            assert!(caller.send(&frame(HEADERS, END_HEADERS, 2 * nth + 1, &grpc(MEASURE))));
        }
    }
    target.wait_refused("grpc", "busy", 176.0);
}

#[test]
fn large_heads_are_refused_whether_the_services_see_them_or_not() {
    let target = Target::start(&Config::new());
    for (at, size) in [20 << 10, 80 << 10].into_iter().enumerate() {
        let block = [grpc(MEASURE), header("x-large", &"x".repeat(size))].concat();
        let mut parts = block.chunks(16_000).peekable();
        let mut caller = Caller::connect(target.site.grpc());
        let mut kind = HEADERS;
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_none() { END_HEADERS } else { 0 };
            let flags = if kind == HEADERS { flags | END_STREAM } else { flags };
            assert!(caller.send(&frame(kind, flags, 1, part)));
            kind = CONTINUATION;
        }
        assert!(caller.find(|frame| frame.stream == 1).is_some(), "it is told");
        target.wait_refused("grpc", "head_too_large", at as f64 + 1.0);
    }
}

#[test]
fn large_messages_are_refused_before_they_are_read() {
    let target = Target::start(&Config::new());
    let mut caller = Caller::connect(target.site.grpc());
    caller.send(&frame(HEADERS, END_HEADERS, 1, &grpc(MEASURE)));
    // The prefix of a message of 1 GiB.
    caller.send(&frame(DATA, 0, 1, &[0, 64, 0, 0, 0, 1, 2, 3]));
    let answer = caller.find(|frame| frame.kind == HEADERS && frame.stream == 1).unwrap();
    assert!(!answer.payload.is_empty());
    target.wait_refused("grpc", "body_too_large", 1.0);
}

#[test]
fn bodies_that_do_not_come_end_their_requests() {
    let target = Target::start(&Config::new().grpc("max_delay = \"0s\""));
    let mut caller = Caller::connect(target.site.grpc());
    let start = Instant::now();
    caller.send(&frame(HEADERS, END_HEADERS, 1, &grpc(MEASURE)));
    assert!(caller.find(|frame| frame.kind == HEADERS && frame.stream == 1).is_some());
    let took = start.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_secs(20)).contains(&took), "{took:?}");
    target.wait_refused("grpc", "slow_request", 1.0);
}

#[test]
fn floods_of_resets_and_continuations_end_the_connection() {
    let target = Target::start(&Config::new());
    let mut resets = Caller::connect(target.site.grpc());
    let _ = (0..5000u32).all(|nth| {
        let stream = 2 * nth + 1;
        let request = frame(HEADERS, END_HEADERS, stream, &grpc(MEASURE));
        resets.send(&[request, frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat())
    });
    target.wait_refused("grpc", "flooded", 1.0);

    let mut continued = Caller::connect(target.site.grpc());
    continued.send(&frame(HEADERS, END_STREAM, 1, &grpc(MEASURE)));
    let _ = (0..5000).all(|_| continued.send(&frame(CONTINUATION, 0, 1, &[])));
    if let Some(end) = continued.find(|frame| frame.kind == GOAWAY) {
        assert_eq!(end.code(), Some(11), "ENHANCE_YOUR_CALM");
    }
    target.wait_refused("grpc", "flooded", 2.0);
}
