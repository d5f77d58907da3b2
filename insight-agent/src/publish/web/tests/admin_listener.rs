//! The JSON API: status, token, and what web pages get.

use super::*;
use crate::model::reload::ReloadSummary;
use crate::model::status::{AgentStatus, Status};

fn status() -> Status {
    Status {
        agent: AgentStatus {
            name: "node-1".to_owned(),
            region: "eu".to_owned(),
            version: "1.2.3".to_owned(),
            uptime_seconds: 12.5,
            window_seconds: 10.0,
            listeners: BTreeMap::new(),
        },
        paths: Vec::new(),
        probes: Vec::new(),
        discovery: Vec::new(),
        forwarders: vec![],
        tls_files: Vec::new(),
        measurements: Vec::new(),
        lost: Vec::new(),
    }
}

async fn start_admin(token: Option<&str>) -> Server {
    start_with(token, Some(Arc::new(|| Box::pin(async { Ok(ReloadSummary::default()) })))).await
}

async fn start_with(token: Option<&str>, reload: Option<ReloadSource>) -> Server {
    let readiness = Arc::new(Readiness::not_yet("starting"));
    let parts = AdminListener {
        status: Arc::new(status),
        readiness: Arc::clone(&readiness),
        token: token.map(|t| Secret::from_text(t.as_bytes()).unwrap()),
        reload,
        door: Door::new(Limits::new(256, 256)),
    };
    start(readiness, |listener, stopped| serve_admin(listener, parts, async { drop(stopped.await) })).await
}

fn error(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_str(&answer.body).expect("a JSON body");
    body["error"].as_str().expect("an error").to_owned()
}

#[tokio::test]
async fn status_is_json_and_pretty_on_request() {
    let server = start_admin(None).await;
    let compact = server.ask("GET /api/v1/status", &[]).await;
    assert_eq!((compact.status, compact.header("content-type")), (200, "application/json"));
    assert_eq!(compact.body.lines().count(), 1);
    for query in ["?pretty", "?a=b&pretty=true"] {
        let pretty = server.ask(&format!("GET /api/v1/status{query}"), &[]).await;
        assert!(pretty.body.contains("\n    \"name\": \"node-1\""), "{query}: {}", pretty.body);
        let read: Status = serde_json::from_str(&pretty.body).unwrap();
        assert_eq!(read.agent.uptime_seconds, 12.5);
    }
    assert_eq!(server.ask("GET /api/v1/status?pretty=false", &[]).await.body, compact.body);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_json_errors() {
    let server = start_admin(None).await;
    let answer = server.ask("GET /api/v1/stats", &[]).await;
    assert_eq!(answer.status, 404);
    assert!(error(&answer).contains("/api/v1/status"), "{answer:?}");
    let answer = server.ask("DELETE /api/v1/status", &[]).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET,HEAD"));
    assert!(error(&answer).contains("use GET"), "{answer:?}");
}

#[tokio::test]
async fn token_opens_everything_and_health_needs_none() {
    let server = start_admin(Some("s3cret")).await;
    let answer = server.ask("GET /api/v1/status", &[]).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"));
    for wrong in ["Bearer s3cre", "Bearer ", "Bearer", "Basic s3cret", "s3cret"] {
        let answer = server.ask("GET /api/v1/status", &[&format!("Authorization: {wrong}")]).await;
        assert_eq!(answer.status, 401, "{wrong:?}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{wrong:?}");
        assert!(!answer.body.contains("s3cret"), "{}", answer.body);
    }
    assert_eq!(server.ask("GET /nowhere", &[]).await.status, 401, "what exists is not told either");
    for right in ["Bearer s3cret", "bearer s3cret"] {
        let answer = server.ask("GET /api/v1/status", &[&format!("Authorization: {right}")]).await;
        assert_eq!(answer.status, 200, "{right:?}");
    }
    assert_eq!(server.ask("GET /-/healthy", &[]).await.status, 200);
    let ready = server.ask("GET /-/ready", &[]).await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready: starting\n"));
}

#[tokio::test]
async fn web_pages_are_refused_whatever_they_know() {
    let server = start_admin(Some("s3cret")).await;
    let token = "Authorization: Bearer s3cret";
    let own = format!("Origin: http://{}", server.addr);
    assert_eq!(server.ask("GET /api/v1/status", &[token, &own]).await.status, 200);
    for header in ["Origin: https://attacker.example", "Origin: null", "Sec-Fetch-Site: cross-site"] {
        let answer = server.ask("GET /api/v1/status", &[token, header]).await;
        assert_eq!(answer.status, 403, "{header}");
        assert!(error(&answer).contains("web pages"), "{answer:?}");
    }
    let rebound = ask(server.connect().await, "GET /-/healthy", &["Host: attacker.example"]).await;
    assert_eq!(rebound.status, 403);
    assert!(error(&rebound).contains("localhost"), "{rebound:?}");
}

#[tokio::test]
async fn a_reload_is_a_post_that_answers_with_what_changed() {
    let server = start_admin(None).await;
    for request in ["GET /-/reload", "HEAD /-/reload", "PUT /-/reload"] {
        let answer = server.ask(request, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "POST"), "{request}");
    }
    let answer = server.ask("POST /-/reload", &[]).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let summary: ReloadSummary = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(summary, ReloadSummary::default());
}

#[tokio::test]
async fn a_reload_that_failed_is_500_and_says_why() {
    let why = "insight.toml:3: probe[0].interval = 7: expected a duration";
    let source: ReloadSource = Arc::new(move || Box::pin(async move { Err(why.to_owned()) }));
    let answer = start_with(None, Some(source)).await.ask("POST /-/reload", &[]).await;
    assert_eq!((answer.status, error(&answer).as_str()), (500, why));
}

#[tokio::test]
async fn nobody_reloads_without_the_token_or_from_a_web_page() {
    let server = start_admin(Some("s3cret")).await;
    assert_eq!(server.ask("POST /-/reload", &[]).await.status, 401);
    let bearer = "Authorization: Bearer s3cret";
    assert_eq!(server.ask("POST /-/reload", &[bearer]).await.status, 200);
    let page = server.ask("POST /-/reload", &[bearer, "Origin: http://example.com"]).await;
    assert_eq!(page.status, 403);
}

#[tokio::test]
async fn an_agent_without_a_file_has_nothing_to_reload() {
    assert_eq!(start_with(None, None).await.ask("POST /-/reload", &[]).await.status, 404);
}
