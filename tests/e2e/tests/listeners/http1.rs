//! Bad HTTP/1.1: heads that do not end, heads and bodies without end, and things that are no HTTP.

use crate::{Target, closed, refused};
use insight_e2e::agent::Config;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const HEAD: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ";

/// Sends a head byte by byte until the other side has enough; gives how long that was.
fn drip(to: SocketAddr, endless: &[u8]) -> Duration {
    let mut stream = TcpStream::connect(to).unwrap();
    let start = Instant::now();
    for byte in endless.iter().chain(std::iter::repeat(&b'x')) {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        assert!(start.elapsed() < crate::PATIENCE, "a head that never ends is still read");
        std::thread::sleep(Duration::from_millis(100));
    }
    start.elapsed()
}

#[test]
fn slow_heads_are_closed_in_seconds_and_scrapes_go_on() {
    let target = Target::start(&Config::new());
    let drips: Vec<_> = target
        .http1()
        .into_iter()
        .flat_map(|(_, address)| (0..20).map(move |_| std::thread::spawn(move || drip(address, HEAD))))
        .collect();
    while drips.iter().any(|drip| !drip.is_finished()) {
        target.scrape_in_time();
        std::thread::sleep(Duration::from_millis(100));
    }
    for drip in drips {
        let took = drip.join().unwrap();
        assert!(took > Duration::from_secs(3), "closed after {took:?}: a slow path would be, too");
        assert!(took < Duration::from_secs(15), "closed after {took:?}");
    }
    target.http1().into_iter().for_each(|(listener, _)| target.wait_refused(listener, "no_request", 20.0));
}

#[test]
fn large_heads_and_bodies_are_refused_by_name() {
    let target = Target::start(&Config::new());
    let large = |size: usize| "x".repeat(size);
    let cases = [
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", large(1 << 20)), "431", "head_too_large"),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", large(1 << 20)), "431", "head_too_large"),
        (
            "POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 109951162777\r\n\r\nx".into(),
            "413",
            "body_too_large",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".into(),
            "413",
            "body_too_large",
        ),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\r\n\r\n".into(), "400", "malformed"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), "", "malformed"),
    ];
    for (listener, address) in target.http1() {
        for (sent, status, reason) in &cases {
            let before = refused(&target.scrape_in_time(), listener, reason);
            let mut stream = TcpStream::connect(address).unwrap();
            // Whoever refuses does not read all of it.
            let _ = stream.write_all(sent.as_bytes());
            let said = String::from_utf8_lossy(&closed(&mut stream)).into_owned();
            // A reset for what was not read may overtake the answer.
            let as_expected = said.is_empty() || said.starts_with(&format!("HTTP/1.1 {status}"));
            assert!(as_expected, "{listener}: {said} to {}", &sent[..20.min(sent.len())]);
            target.wait_refused(listener, reason, before + 1.0);
        }
    }
}

#[test]
fn half_open_connections_end_at_once() {
    let target = Target::start(&Config::new());
    for (_, address) in target.http1() {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(HEAD).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let start = Instant::now();
        closed(&mut stream);
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
    target.scrape_in_time();
}

#[test]
fn clients_that_never_read_do_not_hold_the_page() {
    let target = Target::start(&Config::new());
    // More answers than the buffers between two sockets hold, asked for at once on each connection.
    let request = "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(400);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let metrics = target.site.metrics();
    let stuck: Vec<_> = (0..300)
        .filter_map(|_| {
            // All of one address, which is not the scraper's.
            let stream = runtime.block_on(crate::crowd::connect(metrics, 1, 2))?;
            // As much as goes in.
            let _ = stream.try_write(request.as_bytes());
            Some(stream)
        })
        .collect();
    for _ in 0..20 {
        let seen = target.scrape_in_time();
        let open = seen.value("insight_listener_connections", &[("listener", "metrics")]).unwrap();
        assert!(open <= 257.0, "one peer's share is 256, the scraper has one more: {open}");
    }
    assert!(stuck.len() > 200, "{}", stuck.len());
}
