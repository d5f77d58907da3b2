//! Probing a grpcio service behind a real nginx.

use crate::peers::{REQUEST_BASE64, nginx, service};
use insight_e2e::agent::{Agent, Config, Site};
use insight_e2e::equipment::{Program, has};
use insight_e2e::exposition::Exposition;
use insight_e2e::process::Process;
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::time::Duration;

const NEEDS: &[Program] = &[Program::Python, Program::Nginx];
/// Generous: two real programs and a test share two cores.
const DEADLINE: &str = "deadline = \"5s\"";

/// prober → nginx → grpcio. Fields are dropped in order.
struct Path {
    nginx: Process,
    service: Process,
    site: Site,
}

impl Path {
    fn open() -> Self {
        let site = Site::new();
        let upstream = site.loopback.at(3, 50051);
        let service = service(&site, upstream);
        let nginx = nginx(&site, Self::entry(&site), upstream);
        Self { nginx, service, site }
    }

    fn entry(site: &Site) -> SocketAddr {
        site.loopback.at(2, 15080)
    }

    /// An agent with one probe through nginx.
    fn probed(&self, lines: &str) -> Agent {
        let address = Self::entry(&self.site).to_string();
        self.site.start(&Config::new().probe("p", "far", &address, &format!("{DEADLINE}\n{lines}")))
    }
}

fn ok(seen: &Exposition) -> f64 {
    seen.sum("insight_probe_results_total", &[("status", "OK")]).unwrap_or(0.0)
}

fn failures(seen: &Exposition, class: &str) -> f64 {
    seen.sum("insight_probe_failures_total", &[("class", class)]).unwrap_or(0.0)
}

fn last_detail(agent: &Agent) -> String {
    agent.probe_status("p")["last_failure"]["detail"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_serving_service_is_good_and_turns_bad_and_good_again_with_its_health() {
    if !has("a_serving_service_is_good_and_turns_bad_and_good_again_with_its_health", NEEDS) {
        return;
    }
    let mut path = Path::open();
    let agent = path.probed("");
    let seen = agent.wait_for("good answers and a window", |seen| {
        let figure = seen.value("cross_region_latency_ms", &[("target", "far")]);
        (ok(seen) >= 10.0 && figure.is_some()).then(|| seen.clone())
    });
    assert_eq!(seen.sum("insight_probe_failures_total", &[]), None);
    // Loopback, one proxy and a Python interpreter: above 50 µs by far, below a second by far.
    let latency = seen.histogram("insight_probe_duration_seconds", &[]).unwrap();
    let median = latency.quantile(0.5).unwrap();
    assert!((50e-6..1.0).contains(&median), "median of {median} s: {latency:?}");
    assert_eq!(lost(&seen, "malformed"), 0.0, "nginx wrote what the documentation says");

    path.service.tell("NOT_SERVING");
    agent.wait_for("not_serving", |seen| (failures(seen, "not_serving") >= 3.0).then_some(()));
    let detail = last_detail(&agent);
    assert!(detail.contains("the service says it is NOT_SERVING"), "{detail}");

    path.service.tell("SERVING");
    let before = ok(&agent.scrape());
    agent.wait_for("good answers again", |seen| (ok(seen) >= before + 5.0).then_some(()));
}

fn lost(seen: &Exposition, loss: &str) -> f64 {
    seen.sum("insight_lost_total", &[("measurement", "hop_headers"), ("loss", loss)]).unwrap_or(0.0)
}

#[test]
fn a_health_service_that_nobody_registered_is_not_found() {
    if !has("a_health_service_that_nobody_registered_is_not_found", NEEDS) {
        return;
    }
    let path = Path::open();
    let agent = path.probed("health_service = \"shop.Cart\"");
    let seen = agent.wait_for("answers", |seen| (failures(seen, "status") >= 3.0).then(|| seen.clone()));
    let not_found = seen.sum("insight_probe_results_total", &[("status", "NOT_FOUND")]);
    assert_eq!(not_found, Some(failures(&seen, "status")));
    assert!(last_detail(&agent).contains("NOT_FOUND"), "{}", last_detail(&agent));
}

#[test]
fn a_unary_method_gets_exactly_the_configured_bytes() {
    if !has("a_unary_method_gets_exactly_the_configured_bytes", NEEDS) {
        return;
    }
    let path = Path::open();
    let method = "method = \"/stock.v1.Stock/Get\"";
    let right = path.probed(&format!("{method}\nrequest_base64 = \"{REQUEST_BASE64}\""));
    let seen = right.wait_for("good answers", |seen| (ok(seen) >= 5.0).then(|| seen.clone()));
    assert_eq!(seen.sum("insight_probe_failures_total", &[]), None, "{}", last_detail(&right));
    drop(right);
    // The service tells other bytes apart, so the good answers above mean something.
    let wrong = path.probed(method);
    wrong.wait_for("refusals", |seen| (failures(seen, "status") >= 3.0).then_some(()));
    assert!(last_detail(&wrong).contains("INVALID_ARGUMENT"), "{}", last_detail(&wrong));
}

#[test]
fn a_method_that_the_service_does_not_have_is_misrouted() {
    if !has("a_method_that_the_service_does_not_have_is_misrouted", NEEDS) {
        return;
    }
    let path = Path::open();
    let agent = path.probed("method = \"/stock.v1.Stock/Gte\"");
    agent.wait_for("refusals", |seen| (failures(seen, "misrouted") >= 3.0).then_some(()));
    assert!(last_detail(&agent).contains("UNIMPLEMENTED"), "{}", last_detail(&agent));
}

#[test]
fn a_killed_service_is_named_by_the_proxy_in_front_of_it() {
    if !has("a_killed_service_is_named_by_the_proxy_in_front_of_it", NEEDS) {
        return;
    }
    let mut path = Path::open();
    let agent = path.probed("");
    agent.wait_for("good answers", |seen| (ok(seen) >= 3.0).then_some(()));
    path.service.stop(Signal::SIGKILL, Duration::from_secs(10));
    let seen = agent.wait_for("proxy", |seen| (failures(seen, "proxy") >= 3.0).then(|| seen.clone()));
    assert_eq!(failures(&seen, "refused"), 0.0, "nginx still listens");
    let detail = last_detail(&agent);
    for part in
        ["HTTP 502 Bad Gateway without grpc-status", "server: \"nginx", "a proxy answered for its upstream"]
    {
        assert!(detail.contains(part), "{part:?} is missing in {detail:?}");
    }
    assert!(path.nginx.ended().is_none());
}

#[test]
fn the_one_shot_probe_falls_back_to_health_and_reads_nginx_as_a_hop() {
    if !has("the_one_shot_probe_falls_back_to_health_and_reads_nginx_as_a_hop", NEEDS) {
        return;
    }
    let path = Path::open();
    let entry = Path::entry(&path.site).to_string();
    let finished = path.site.execute(&["probe", &entry, "--output", "json", "--interval", "20ms"]);
    assert_eq!(finished.code, 0, "{finished:?}");
    let report: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(report["fell_back_to_health"], true, "{report}");
    assert_eq!(report["method"], "/grpc.health.v1.Health/Check");
    for sample in report["samples"].as_array().unwrap() {
        let hop = &sample["hops"][0];
        assert_eq!(hop["name"], "nginx", "{sample}");
        let figure = |name: &str| hop[name].as_f64().unwrap_or_else(|| panic!("{name} in {hop}"));
        let (downstream, upstream) = (figure("downstream_seconds"), figure("upstream_seconds"));
        // nginx tells whole milliseconds: its own share can be negative by one of them.
        assert!(downstream >= upstream - 0.001, "{hop}");
        assert!(downstream <= sample["total_seconds"].as_f64().unwrap() + 0.001, "{sample}");
    }
}

#[test]
fn the_one_shot_probe_falls_back_to_health_without_a_proxy_too() {
    if !has("the_one_shot_probe_falls_back_to_health_without_a_proxy_too", &[Program::Python]) {
        return;
    }
    let site = Site::new();
    let address = site.loopback.at(2, 50051);
    let _service = service(&site, address);
    let finished = site.execute(&["probe", &address.to_string(), "--interval", "20ms"]);
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(finished.stdout.contains("health"), "{}", finished.stdout);
    let white_box = site.execute(&["probe", &address.to_string(), "--mode", "white-box", "--count", "1"]);
    assert_eq!(white_box.code, 3, "{white_box:?}");
    assert!(white_box.stdout.contains("UNIMPLEMENTED"), "{}", white_box.stdout);
}
