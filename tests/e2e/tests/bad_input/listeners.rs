//! Who may read what, and what never leaves.

use crate::pair::PORT;
use base64::Engine;
use insight_e2e::agent::{Config, Site};
use insight_e2e::http;
use insight_e2e::peers::grpc::Peer;
use std::os::unix::fs::PermissionsExt;

const TOKEN: &str = "s3cret-t0ken-of-this-test";

#[test]
fn the_admin_api_wants_the_token_and_nothing_ever_shows_it() {
    let site = Site::new();
    let file = site.write("admin.token", &format!("{TOKEN}\n"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = Config::new().agent("log = \"trace\"").admin("token_file = \"admin.token\"");
    let mut agent = site.start(&config);
    let bearer = format!("Bearer {TOKEN}");

    let without = agent.admin("/api/v1/status", &[]);
    assert_eq!(without.status, 401, "{}", without.body);
    assert!(without.head.to_lowercase().contains("www-authenticate: bearer"), "{}", without.head);
    assert!(without.body.contains("a bearer token is needed"), "{}", without.body);
    let wrong = agent.admin("/api/v1/status", &[("authorization", "Bearer guess")]);
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains("not the configured one"), "{}", wrong.body);
    let right = agent.admin("/api/v1/status", &[("authorization", &bearer)]);
    assert_eq!(right.status, 200, "{}", right.body);
    assert_eq!(agent.admin("/-/healthy", &[]).status, 200, "an orchestrator has no token");

    let metrics = agent.metrics_text();
    assert_eq!(agent.stop().0, 0);
    let said = [&without.head, &without.body, &wrong.body, &right.head, &right.body, &metrics, &agent.log()]
        .map(String::as_str)
        .join("\n");
    assert!(!said.contains(TOKEN), "the token was shown");
}

#[test]
fn basic_auth_guards_the_metrics() {
    let site = Site::new();
    // The least cost that bcrypt knows: what is tested is the way, not the hash's strength.
    let hash = bcrypt::hash("sesame", 4).unwrap();
    site.write("web.yml", &format!("basic_auth_users:\n  prometheus: {hash}\n"));
    let mut agent = site.start(&Config::new().metrics("web_config_file = \"web.yml\""));
    let get = |credentials: Option<&str>| {
        let encoded = credentials.map(|text| base64::engine::general_purpose::STANDARD.encode(text));
        let value = encoded.map(|text| format!("Basic {text}"));
        let headers: Vec<_> = value.iter().map(|value| ("authorization", value.as_str())).collect();
        http::get(site.metrics(), "/metrics", &headers).unwrap()
    };
    let without = get(None);
    assert_eq!(without.status, 401);
    assert!(without.head.to_lowercase().contains("www-authenticate: basic"), "{}", without.head);
    assert!(!without.body.contains("insight_"), "{}", without.body);
    assert_eq!(get(Some("prometheus:wrong")).status, 401);
    assert_eq!(get(Some("somebody:sesame")).status, 401);
    let right = get(Some("prometheus:sesame"));
    assert_eq!(right.status, 200);
    assert!(right.body.contains("insight_build_info{"), "{}", right.body);
    assert_eq!(agent.stop().0, 0);
    assert!(!agent.log().contains("sesame") && !agent.log().contains(&hash), "{}", agent.log());
}

#[test]
fn no_series_shows_an_address_of_a_target() {
    let site = Site::new();
    let (up, down) = (site.loopback.at(2, PORT), site.loopback.at(3, PORT));
    let _peer = Peer::healthy(up);
    let config = Config::new()
        .probe("up", "near", &up.to_string(), "connections = [\"reused\", \"fresh\"]")
        .probe("down", "far", &down.to_string(), "connections = [\"reused\", \"fresh\"]");
    let agent = site.start(&config);
    let seen = agent.wait_for("both probes and a window", |seen| {
        let ok = seen.sum("insight_probe_results_total", &[("probe", "up")])?;
        let failed = seen.sum("insight_probe_failures_total", &[("probe", "down")])?;
        seen.value("cross_region_latency_ms", &[("target", "near")])?;
        (ok >= 5.0 && failed >= 5.0).then(|| seen.clone())
    });
    for sample in seen.families.values().flat_map(|family| &family.samples) {
        for (name, value) in &sample.labels {
            let shown = value.contains("127.251") || value.contains("15051");
            assert!(!shown, "{}: {name} = {value:?} tells an address", sample.name);
        }
    }
    // The admin API is where addresses belong.
    assert_eq!(agent.probe_status("down")["address"], down.to_string());
}
