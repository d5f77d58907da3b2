//! Callers without the right to ask: refused, counted, and none the wiser.

use crate::Target;
use crate::raw::{Caller, DATA, END_HEADERS, END_STREAM, HEADERS, frame, grpc};
use insight_e2e::agent::{Config, Site};
use insight_e2e::http;
use std::os::unix::fs::PermissionsExt;

#[test]
fn callers_without_a_token_or_a_password_are_counted_at_each_listener() {
    let site = Site::new();
    let file = site.write("token", "s3cret-t0ken\n");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let hash = bcrypt::hash("sesame", 4).unwrap();
    site.write("web.yml", &format!("basic_auth_users:\n  prometheus: {hash}\n"));
    let config = Config::new()
        .metrics("web_config_file = \"web.yml\"")
        .admin("token_file = \"token\"")
        .grpc("token_file = \"token\"");
    let _agent = site.start(&config);

    assert_eq!(http::get(site.metrics(), "/metrics", &[]).unwrap().status, 401);
    assert_eq!(http::get(site.admin(), "/api/v1/status", &[]).unwrap().status, 401);
    let foreign = [("origin", "https://elsewhere.example")];
    assert_eq!(http::get(site.admin(), "/api/v1/status", &foreign).unwrap().status, 403);
    let mut caller = Caller::connect(site.grpc());
    caller.send(&frame(HEADERS, END_HEADERS, 1, &grpc("/insight.v1.Node/Report")));
    caller.send(&frame(DATA, END_STREAM, 1, &[0; 5]));
    assert!(caller.find(|frame| frame.kind == HEADERS && frame.stream == 1).is_some());

    let encoded = "Basic cHJvbWV0aGV1czpzZXNhbWU="; // prometheus:sesame
    let page = http::get(site.metrics(), "/metrics", &[("authorization", encoded)]).unwrap();
    let seen = insight_e2e::exposition::Exposition::parse(&page.body).unwrap();
    let count = |listener, reason| crate::refused(&seen, listener, reason);
    // Readiness was asked without a password until it was there, hence "at least".
    assert!(count("metrics", "unauthenticated") >= 1.0);
    assert_eq!((count("admin", "unauthenticated"), count("admin", "forbidden")), (1.0, 1.0));
    assert_eq!(count("grpc", "unauthenticated"), 1.0);
}

#[test]
fn an_undisturbed_agent_has_refused_nobody() {
    let target = Target::start(&Config::new());
    let seen = target.scrape_in_time();
    assert_eq!(seen.sum("insight_listener_refused_total", &[]), Some(0.0), "{}", crate::told(&seen));
    assert_eq!(seen.value("insight_listener_connections", &[("listener", "grpc")]), Some(0.0));
}
