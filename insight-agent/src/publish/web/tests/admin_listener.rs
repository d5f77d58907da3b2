//! The JSON API: status, token, and what web pages get.

use super::*;
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
        forwarders: vec![],
        measurements: Vec::new(),
        lost: Vec::new(),
    }
}

async fn start_admin(token: Option<&str>) -> Server {
    let readiness = Arc::new(Readiness::not_yet("starting"));
    let parts = AdminListener {
        status: Arc::new(status),
        readiness: Arc::clone(&readiness),
        token: token.map(|t| Secret::from_text(t.as_bytes()).unwrap()),
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
