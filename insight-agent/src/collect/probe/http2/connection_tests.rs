//! A connection and its socket, against h2's server and against peers written by hand.

use super::*;
use crate::collect::probe::socket::Socket;
use crate::collect::probe::stamped::Stamped;
use http::HeaderName;
use http::HeaderValue;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

fn pair() -> (Connection, UnixStream, Arc<EventLog>) {
    let (near, far) = UnixStream::pair().unwrap();
    let events = Arc::new(EventLog::default());
    let io = Io::Plain(Stamped::new(Arc::new(Socket::Unix(near))));
    (Connection::begin(io, Arc::clone(&events)), far, events)
}

/// Of a POST to `/`.
fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    let pseudo: [(&str, &[u8]); 4] =
        [(":method", b"POST"), (":scheme", b"http"), (":path", b"/"), (":authority", b"somewhere")];
    for (name, value) in pseudo.iter().chain(fields) {
        super::super::hpack::write_field(&mut block, name.as_bytes(), value);
    }
    block
}

/// SETTINGS without a parameter.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Answers each request with its own header fields and its own body, in pieces, and one trailer.
async fn echo(far: UnixStream, window: u32, streams: u32) {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(window).max_concurrent_streams(streams);
    let mut connection = builder.handshake::<_, Bytes>(far).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tokio::spawn(async move {
            let (parts, mut body) = request.into_parts();
            let mut response = http::Response::new(());
            *response.headers_mut() = parts.headers;
            let mut stream = respond.send_response(response, false).unwrap();
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                stream.send_data(data, false).unwrap();
            }
            let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
            stream.send_trailers(HeaderMap::from_iter([status])).unwrap();
        });
    }
}

/// What comes back for this.
async fn asked(
    connection: &Connection,
    block: &[u8],
    body: Bytes,
) -> (HeaderMap, Vec<u8>, Option<HeaderMap>) {
    let mut exchange = connection.request(block, body).await.unwrap();
    let answer = exchange.answer().await.unwrap();
    let mut body = Vec::new();
    while let Some(piece) = exchange.piece().await.unwrap() {
        body.extend_from_slice(&piece.bytes);
    }
    let (trailers, _) = exchange.end(Instant::now());
    assert!(exchange.began().unwrap() <= exchange.written().unwrap());
    (answer.headers, body, trailers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_a_real_server_sends_back_is_what_it_was_sent(
        requests in prop::collection::vec(
            (
                prop::collection::vec(("[a-z][a-z0-9-]{0,20}", "[ -~]{0,60}"), 0..8),
                prop::collection::vec(any::<u8>(), 0..400_000),
            ),
            1..5,
        ),
        window in 1_u32..200_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (connection, far, _) = pair();
            tokio::spawn(echo(far, window, 100));
            // Each twice, so that the server's tables are used, had it any.
            for (fields, body) in requests.iter().chain(&requests) {
                let kept: Vec<(&str, &[u8])> = fields
                    .iter()
                    .filter(|(name, _)| !["te", "connection", "upgrade", "keep-alive"].contains(&name.as_str()))
                    .map(|(name, value)| (name.as_str(), value.trim().as_bytes()))
                    .collect();
                let (headers, back, trailers) =
                    asked(&connection, &block(&kept), Bytes::from(body.clone())).await;
                let mut sent = HeaderMap::new();
                for (name, value) in &kept {
                    sent.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value).unwrap());
                }
                assert_eq!(headers, sent);
                assert!(back == *body, "{} of {} bytes", back.len(), body.len());
                assert_eq!(trailers.unwrap()["grpc-status"], "0");
            }
        });
    }
}

#[tokio::test]
async fn requests_beside_each_other_keep_apart_and_wait_for_their_turn() {
    let (connection, far, _) = pair();
    tokio::spawn(echo(far, 65_535, 2));
    // The first request is sent before the server's limit is known.
    asked(&connection, &block(&[]), Bytes::from_static(b"first")).await;
    let connection = Arc::new(connection);
    let mut all = tokio::task::JoinSet::new();
    for nth in 0..10_u8 {
        let connection = Arc::clone(&connection);
        all.spawn(async move {
            let body = Bytes::from(vec![nth; 50_000 + usize::from(nth)]);
            let (_, back, _) = asked(&connection, &block(&[]), body.clone()).await;
            assert_eq!(back, body);
        });
    }
    while let Some(one) = all.join_next().await {
        one.unwrap();
    }
}

#[tokio::test]
async fn a_closed_window_and_a_full_socket_are_stalls_with_their_reasons() {
    let (connection, mut far, events) = pair();
    far.write_all(&SETTINGS).await.unwrap();
    let body = Bytes::from(vec![0; 70_000]);
    let mut exchange = connection.request(&block(&[]), body).await.unwrap();
    let answer = tokio::spawn(async move { exchange.answer().await.map(|answer| answer.status) });
    let mut read = vec![0; 65_535];
    far.read_exact(&mut read).await.unwrap();
    tokio::time::sleep(STALL * 10).await;
    assert_eq!(events.take(), [(stall(EventReason::Http2Window), 1)]);
    answer.abort();

    let (connection, mut far, events) = pair();
    // A window of 16 MiB for everything.
    far.write_all(
        &[&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0][..], &[0, 0, 4, 8, 0, 0, 0, 0, 0, 1, 0, 0, 0]]
            .concat(),
    )
    .await
    .unwrap();
    connection.begun().await;
    let body = Bytes::from(vec![0; 8 << 20]);
    let mut exchange = connection.request(&block(&[]), body.clone()).await.unwrap();
    while events.take() != [(stall(EventReason::Socket), 1)] {
        tokio::time::sleep(STALL).await;
    }
    let reading = tokio::spawn(async move {
        let mut sum = 0;
        let mut buffer = vec![0; 1 << 16];
        while sum < 8 << 20 {
            sum += far.read(&mut buffer).await.unwrap();
        }
        far
    });
    while exchange.written().is_none() {
        tokio::time::sleep(STALL).await;
    }
    drop(reading.await.unwrap());
    assert_eq!(exchange.answer().await.unwrap_err(), Break::Closed);
}

#[tokio::test]
async fn a_peer_that_speaks_something_else_or_nothing_is_noticed_at_once() {
    let (connection, mut far, _) = pair();
    far.write_all(b"SSH-2.0").await.unwrap();
    assert_eq!(connection.begun().await, Begun::Otherwise);
    let (connection, far, _) = pair();
    drop(far);
    assert_eq!(connection.begun().await, Begun::Never);
    let start = Instant::now();
    let (connection, mut far, _) = pair();
    far.write_all(&SETTINGS).await.unwrap();
    assert!(matches!(connection.begun().await, Begun::Settings(at) if at >= start));
    assert!(connection.read_after(start) && !connection.read_after(Instant::now()));
}

#[tokio::test]
async fn a_peer_that_says_why_and_goes_is_heard_although_the_write_fails_first() {
    let (connection, mut far, events) = pair();
    far.write_all(&SETTINGS).await.unwrap();
    connection.begun().await;
    // GOAWAY with ENHANCE_YOUR_CALM that counts the first stream in, and the end.
    far.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 11]).await.unwrap();
    drop(far);
    let mut exchange = connection.request(&block(&[]), Bytes::from_static(b"abc")).await.unwrap();
    assert_eq!(exchange.answer().await.unwrap_err().to_string(), "GOAWAY ENHANCE_YOUR_CALM");
    assert_eq!(connection.goaway(), Some(EventReason::EnhanceYourCalm));
    assert_eq!(events.take().len(), 1);
}

#[tokio::test]
async fn a_connection_that_is_dropped_says_goodbye_once_its_requests_have_ended() {
    let (connection, mut far, _) = pair();
    far.write_all(&SETTINGS).await.unwrap();
    connection.begun().await;
    let exchange = connection.request(&block(&[]), Bytes::from_static(b"abc")).await.unwrap();
    drop(connection);
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(exchange);
    let mut said = Vec::new();
    far.read_to_end(&mut said).await.unwrap();
    let (rest, goaway) = said.split_at(said.len() - 17);
    assert_eq!(goaway, [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(rest[rest.len() - 13..][..9], [0, 0, 4, 3, 0, 0, 0, 0, 1], "the request was reset before");
}

#[tokio::test]
async fn a_peer_that_reads_nothing_does_not_keep_a_dropped_connection() {
    let (connection, mut far, _) = pair();
    far.write_all(&SETTINGS).await.unwrap();
    connection.begun().await;
    let shared = Arc::downgrade(&connection.shared);
    // More than the socket takes: not even GOAWAY can be written.
    far.write_all(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 1, 0, 0, 0]).await.unwrap();
    far.write_all(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0]).await.unwrap();
    tokio::time::sleep(STALL).await;
    drop(connection.request(&block(&[]), Bytes::from(vec![0; 8 << 20])).await.unwrap());
    drop(connection);
    tokio::time::sleep(FAREWELL + STALL).await;
    let start = Instant::now();
    while shared.upgrade().is_some() {
        assert!(start.elapsed() < Duration::from_secs(10), "it is still there");
        tokio::time::sleep(STALL).await;
    }
}

#[tokio::test]
async fn a_ping_is_timed_and_ends_with_the_connection() {
    let (connection, far, _) = pair();
    let echo = tokio::spawn(echo(far, 65_535, 10));
    connection.begun().await;
    assert!(!connection.was_pinged());
    for _ in 0..3 {
        assert!(connection.ping().await.is_some());
    }
    assert!(connection.was_pinged());
    echo.abort();
    let _ = echo.await;
    assert_eq!(connection.ping().await, None);
}

#[tokio::test]
async fn over_tcp_the_kernel_says_when_each_part_of_an_answer_came() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(far).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"answer"), true).unwrap();
        }
    });
    let io = Io::Plain(Stamped::new(Arc::new(Socket::Tcp(near))));
    let connection = Connection::begin(io, Arc::default());
    let mut stamped = 0;
    for _ in 0..20 {
        let mut exchange = connection.request(&block(&[]), Bytes::from_static(b"ask")).await.unwrap();
        // The answer is there long before anybody looks.
        std::thread::sleep(Duration::from_millis(1));
        let answer = exchange.answer().await.unwrap();
        let began = exchange.began().unwrap();
        let (answered, of_head) = answer.came.since(began);
        while exchange.piece().await.unwrap().is_some() {}
        let (_, (ended, of_end)) = exchange.end(answered);
        assert!(began <= answered && answered <= ended);
        stamped += u32::from(of_head && of_end);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The kernel begins to stamp some time after it is asked to.
    assert!(stamped >= 10, "{stamped} of 20");
}
