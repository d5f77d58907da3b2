//! `/metrics` and the health checks over plain HTTP, and basic auth before all of them.

use super::*;
use std::sync::{Mutex, mpsc};

fn up() -> Exposition {
    Arc::new(|| Ok("up 1\n".to_owned()))
}

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
        Arc::new(move || {
            entered.send(()).unwrap();
            exit.lock().unwrap().recv().unwrap();
            Ok("up 1\n".to_owned())
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
    let server = start_metrics(Arc::new(|| panic!("a bug")), None).await;
    for _ in 0..3 {
        assert_eq!(server.ask("GET /metrics", &[]).await.status, 500);
    }
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
