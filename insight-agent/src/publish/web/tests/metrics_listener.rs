//! `/metrics` and the health checks over plain HTTP, and basic auth before all of them.

use super::*;
use crate::model::refusal::Refusal;
use crate::publish::metrics::Give;
use crate::publish::web::shared_page::PAGES;
use std::sync::{Mutex, mpsc};

#[tokio::test]
async fn scrape_has_the_content_type_of_the_text_format() {
    let server = start_metrics(up(), None).await;
    let answer = server.ask("GET /metrics", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "up 1\n"));
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
}

#[tokio::test]
async fn head_has_headers_and_no_body() {
    let server = start_metrics(up(), None).await;
    let answer = server.ask("HEAD /metrics", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header("content-length"), "5");
}

#[tokio::test]
async fn other_methods_are_refused_with_those_allowed() {
    let server = start_metrics(up(), None).await;
    for path in ["/metrics", "/-/healthy", "/-/ready"] {
        let answer = server.ask(&format!("POST {path}"), &["Content-Length: 0"]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET,HEAD"), "{path}");
    }
}

#[tokio::test]
async fn unknown_path_lists_the_endpoints() {
    let server = start_metrics(up(), None).await;
    for path in ["/", "/metrics/", "/api/v1/status"] {
        let answer = server.ask(&format!("GET {path}"), &[]).await;
        assert_eq!(answer.status, 404, "{path}");
        for endpoint in ["/metrics", "/-/healthy", "/-/ready"] {
            assert!(answer.body.contains(endpoint), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn readiness_follows_the_agent_and_health_does_not() {
    let server = start_metrics(up(), None).await;
    let ready = async || server.ask("GET /-/ready", &[]).await;
    let answer = ready().await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, "not ready: the first window is not complete\n");
    server.readiness.set_ready();
    assert_eq!(ready().await.status, 200);
    server.readiness.set_not_ready("stopping");
    assert_eq!(ready().await.body, "not ready: stopping\n");
    let healthy = server.ask("GET /-/healthy", &[]).await;
    assert_eq!((healthy.status, healthy.body.as_str()), (200, "healthy\n"));
}

#[tokio::test]
async fn scrapers_that_ask_meanwhile_share_the_next_page() {
    const CROWD: usize = 40;
    let (entered, entries) = mpsc::channel();
    let (leave, exit) = mpsc::channel();
    let exit = Mutex::new(exit);
    let server = start_metrics(
        Arc::new(move |give| {
            entered.send(()).unwrap();
            exit.lock().unwrap().recv().unwrap();
            let _ = give("up 1\n".to_owned());
        }),
        None,
    )
    .await;
    let server = Arc::new(server);
    let ask = || {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.ask("GET /metrics", &[]).await.status })
    };
    let mut scrapes = vec![ask()];
    let entries = Arc::new(Mutex::new(entries));
    let entered = || {
        let entries = Arc::clone(&entries);
        tokio::task::spawn_blocking(move || entries.lock().unwrap().recv_timeout(DEADLINE))
    };
    entered().await.unwrap().expect("the first page is being written");
    scrapes.extend((0..CROWD).map(|_| ask()));
    assert_eq!(server.ask("GET /-/healthy", &[]).await.status, 200, "health does not wait for a page");
    // However the crowd's requests fall, few pages serve all of it: each page takes all who wait.
    let mut pages = 0;
    while !scrapes.iter().all(JoinHandle::is_finished) {
        leave.send(()).unwrap();
        pages += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(pages < CROWD / 2, "{pages} pages");
    for scrape in scrapes {
        assert_eq!(scrape.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn panicking_scrape_is_an_error_and_not_the_end() {
    let server = start_metrics(Arc::new(|_| panic!("a bug")), None).await;
    for _ in 0..3 {
        assert_eq!(server.ask("GET /metrics", &[]).await.status, 500);
    }
}

// ---- pages of many pieces -------------------------------------------------------------------

/// A piece of this number.
fn piece(number: usize) -> String {
    format!("{number:07}\n").repeat(8 << 10)
}

/// What a request for the page gets, from the status line on; **None** at the end: the answer broke off.
async fn whole(server: &Server, request: &str) -> (Answer, Option<String>) {
    let mut stream = server.connect().await;
    let head = format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    read_on(stream, Vec::new()).await
}

/// The same of an answer that has come so far.
async fn read_on(mut stream: TcpStream, mut bytes: Vec<u8>) -> (Answer, Option<String>) {
    // Who broke it off may have reset it.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("no answer");
    let answer = parse(&String::from_utf8(bytes).unwrap());
    let body = dechunked(&answer.body);
    (answer, body)
}

/// **None**: the last chunk is missing.
fn dechunked(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n")?;
        match usize::from_str_radix(length, 16).unwrap() {
            0 => return Some(whole),
            length => whole += rest.get(..length)?,
        }
        body = rest[usize::from_str_radix(length, 16).unwrap()..].strip_prefix("\r\n")?;
    }
}

#[tokio::test]
async fn many_readers_of_a_long_page_get_the_same_figures() {
    const PIECES: usize = 40;
    let pages = Arc::new(Mutex::new(0));
    let written = Arc::clone(&pages);
    let server = start_metrics(
        Arc::new(move |give| {
            let page = {
                let mut written = written.lock().unwrap();
                *written += 1;
                *written
            };
            assert!((0..PIECES).all(|_| give(piece(page)).is_continue()));
        }),
        None,
    )
    .await;
    let server = Arc::new(server);
    let ask = || {
        let server = Arc::clone(&server);
        tokio::spawn(async move { whole(&server, "GET /metrics").await })
    };
    let readers: Vec<_> = (0..20).map(|_| ask()).collect();
    for reader in readers {
        let (answer, body) = reader.await.unwrap();
        let body = body.expect("it did not break off");
        assert_eq!((answer.status, answer.header("transfer-encoding")), (200, "chunked"));
        let page: usize = body.lines().next().unwrap().parse().unwrap();
        assert!(body == piece(page).repeat(PIECES), "a page of several pages' figures");
        assert!((1..=*pages.lock().unwrap()).contains(&page));
    }
    let (answer, _) = whole(&server, "HEAD /metrics").await;
    assert_eq!(answer.header("content-length"), (piece(0).len() * PIECES).to_string());
}

/// Far more than sockets and the server hold for a reader.
const LONG: usize = 1_000;

/// Pages of so many pieces with their number, and how many were begun.
fn long_pages(pieces: usize) -> (Exposition, Arc<Mutex<usize>>) {
    let count = Arc::new(Mutex::new(0));
    let pages = Arc::clone(&count);
    let exposition = Arc::new(move |give: &mut Give<'_>| {
        let number = {
            let mut pages = pages.lock().unwrap();
            *pages += 1;
            *pages
        };
        assert!((0..pieces).all(|_| give(piece(number)).is_continue()));
    });
    (exposition, count)
}

/// Asks for a page, and reads its beginning alone.
async fn begin_page(server: &Server) -> (TcpStream, Vec<u8>) {
    let mut stream = server.connect().await;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut begin = vec![0; 1 << 10];
    stream.read_exact(&mut begin).await.unwrap();
    (stream, begin)
}

#[tokio::test]
async fn who_reads_slowly_gets_the_whole_page_and_keeps_nobody_waiting() {
    let (exposition, count) = long_pages(LONG);
    let server = start_metrics(exposition, None).await;
    let (mut slow, mut begin) = begin_page(&server).await;
    // It stands in the middle of the first page while others read theirs.
    for _ in 0..3 {
        let (_, body) = whole(&server, "GET /metrics").await;
        assert_eq!(body.unwrap().len(), piece(0).len() * LONG);
    }
    assert_eq!(*count.lock().unwrap(), 4);
    slow.read_to_end(&mut begin).await.unwrap();
    let body = dechunked(&parse(&String::from_utf8(begin).unwrap()).body).expect("all of it");
    assert!(body == piece(1).repeat(LONG), "what it got is the page that was begun for it");
}

#[tokio::test]
async fn readers_who_stand_still_hold_a_few_pages_and_no_more() {
    // Several are in memory here at once; still more than sockets and the server hold.
    const PIECES: usize = 300;
    let door = Door::new(Limits::new(256, 256));
    let server = start_behind(Arc::clone(&door), long_pages(PIECES).0, None).await;
    // Each in the middle of a page of its own. One is too many, and the reader behind them is another.
    let mut still = Vec::new();
    for _ in 0..=PAGES {
        still.push(begin_page(&server).await);
    }
    let (_, body) = whole(&server, "GET /metrics").await;
    assert!(body.unwrap() == piece(PAGES + 2).repeat(PIECES), "who reads gets a page of its own");
    for (number, (stream, begin)) in (1..).zip(still) {
        match read_on(stream, begin).await.1 {
            Some(body) => assert!(number > 2 && body == piece(number).repeat(PIECES), "the page of {number}"),
            None => assert!(number <= 2, "{number} was cut off, and is not one of the oldest two"),
        }
    }
    let (_, slow) = door.refused().find(|(reason, _)| *reason == Refusal::SlowReader).unwrap();
    assert_eq!(slow, 2, "each that was cut off is counted");
}

#[tokio::test]
async fn a_page_whose_readers_have_gone_is_written_no_further() {
    let (given, pieces) = mpsc::channel();
    let server = start_metrics(
        Arc::new(move |give| {
            // For ever, if nobody stops it.
            while give(piece(1)).is_continue() {
                std::thread::sleep(Duration::from_millis(1));
            }
            given.send(()).unwrap();
        }),
        None,
    )
    .await;
    let mut reader = server.connect().await;
    reader.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    reader.read_exact(&mut [0; 1 << 10]).await.unwrap();
    assert_eq!(pieces.try_recv(), Err(mpsc::TryRecvError::Empty), "it reads");
    drop(reader);
    let stopped = tokio::task::spawn_blocking(move || pieces.recv_timeout(DEADLINE));
    stopped.await.unwrap().expect("writing ends");
    assert_eq!(server.ask("GET /-/healthy", &[]).await.status, 200);
}

#[tokio::test]
async fn a_scrape_that_panics_in_the_middle_breaks_off_and_is_not_taken_for_a_whole_page() {
    let server = start_metrics(
        Arc::new(|give| {
            assert!((0..3).all(|number| give(piece(number)).is_continue()));
            panic!("a bug");
        }),
        None,
    )
    .await;
    for _ in 0..3 {
        let (answer, body) = whole(&server, "GET /metrics").await;
        assert_eq!((answer.status, body), (200, None));
        assert_eq!(whole(&server, "HEAD /metrics").await.0.status, 500);
    }
}

#[tokio::test]
async fn a_page_of_one_piece_says_its_length() {
    let server = start_metrics(up(), None).await;
    let answer = server.ask("GET /metrics", &[]).await;
    assert_eq!((answer.header("content-length"), answer.header("transfer-encoding")), ("5", ""));
    let server = start_metrics(Arc::new(|_| {}), None).await;
    let answer = server.ask("GET /metrics", &[]).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.as_str()), (200, "0", ""));
}

// ---- basic auth -----------------------------------------------------------------------------

/// `alice` with `wonder:land`, and a header.
async fn start_guarded() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.yml");
    let hash = bcrypt::hash("wonder:land", 4).unwrap();
    let yaml = format!(
        "basic_auth_users:\n  alice: {hash}\nhttp_server_config:\n  headers:\n    X-Frame-Options: deny\n"
    );
    std::fs::write(&path, yaml).unwrap();
    let config = WebConfig::load(&path).unwrap();
    assert!(config.has_users() && !config.has_tls());
    start_metrics(up(), Some(config)).await
}

fn basic(credentials: &str) -> String {
    use base64::Engine as _;
    format!("Authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials))
}

#[tokio::test]
async fn right_user_and_password_may_scrape_again_and_again() {
    let server = start_guarded().await;
    for _ in 0..3 {
        let answer = server.ask("GET /metrics", &[&basic("alice:wonder:land")]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "up 1\n"));
        assert_eq!(answer.header("x-frame-options"), "deny");
    }
}

#[tokio::test]
async fn nobody_else_may_see_anything_of_the_listener() {
    let server = start_guarded().await;
    server.readiness.set_ready();
    for path in ["/metrics", "/-/healthy", "/-/ready", "/nowhere"] {
        for credentials in ["alice:wrong", "mallory:wonder:land", ":"] {
            let answer = server.ask(&format!("GET {path}"), &[&basic(credentials)]).await;
            assert_eq!(answer.status, 401, "{path} {credentials}");
        }
        let answer = server.ask(&format!("GET {path}"), &[]).await;
        assert_eq!((answer.status, answer.body.as_str()), (401, "unauthorized\n"), "{path}");
        assert!(answer.header("www-authenticate").starts_with("Basic realm="), "{answer:?}");
        assert_eq!(answer.header("x-frame-options"), "deny", "headers are on refusals too");
    }
}
