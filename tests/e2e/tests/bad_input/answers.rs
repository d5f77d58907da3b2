//! Next hops that speak HTTP/2 and answer what they should not.

use crate::pair::{BAD, Pair, assert_says, bad_address};
use h2::Reason;
use insight_e2e::agent::{Config, Site};
use insight_e2e::peers::grpc::{Call, Deed, Peer, Reply};
use std::time::Duration;

/// A pair whose bad peer does what `script` says.
fn scripted(lines: &str, script: impl Fn(&Call) -> Deed + Send + Sync + 'static) -> (Pair, Peer, String) {
    let site = Site::new();
    let address = bad_address(&site);
    let peer = Peer::start(address, script);
    let address = address.to_string();
    let pair = Pair::start(site, |config: Config| config.probe("bad", "far", &address, lines));
    (pair, peer, address)
}

/// A forwarder that routes by `:authority`.
fn routed(refusal: fn() -> Reply) -> impl Fn(&Call) -> Deed + Send + Sync {
    move |call| if call.authority == "orders.test" { Reply::serving() } else { refusal() }.into()
}

#[test]
fn a_wrong_authority_answered_by_404_is_misrouted() {
    let script = routed(|| Reply::http(404).header("server", b"edge/1.2"));
    let (mut pair, _peer, address) = scripted("authority = \"orders.tset\"", script);
    let detail = pair.assert_fails_as("misrouted", "UNIMPLEMENTED");
    assert_says(
        &detail,
        &[
            &format!(
                "call /grpc.health.v1.Health/Check through {address}: HTTP 404 Not Found without grpc-status"
            ),
            "server: \"edge/1.2\"",
            "no hop knows this route: check authority, metadata and method",
        ],
    );
}

#[test]
fn a_wrong_authority_answered_by_unimplemented_is_misrouted() {
    let script = routed(|| Reply::grpc_status(12, "no%20route"));
    let (mut pair, _peer, _) = scripted("authority = \"orders.tset\"", script);
    let detail = pair.assert_fails_as("misrouted", "UNIMPLEMENTED");
    assert_says(&detail, &["UNIMPLEMENTED: \"no route\"", "check method, authority and metadata"]);
}

#[test]
fn the_right_authority_reaches_the_service() {
    let (mut pair, _peer, _) = scripted("authority = \"orders.test\"", routed(|| Reply::http(404)));
    pair.agent.wait_for("answers", |seen| {
        seen.sum("insight_probe_results_total", &[BAD, ("status", "OK")]).filter(|count| *count >= 5.0)
    });
    let seen = pair.assert_good_goes_on();
    assert_eq!(seen.sum("insight_probe_failures_total", &[BAD]), None);
}

#[test]
fn http_502_without_a_grpc_status_names_a_proxy() {
    let reply = || Reply::http(502).header("server", b"mediary").header("via", b"1.1 edge-b");
    let (mut pair, _peer, _) = scripted("", move |_| reply().into());
    let detail = pair.assert_fails_as("proxy", "UNAVAILABLE");
    assert_says(
        &detail,
        &[
            "HTTP 502 Bad Gateway without grpc-status",
            "server: \"mediary\"",
            "via: \"1.1 edge-b\"",
            "a proxy answered",
        ],
    );
}

#[test]
fn a_status_in_trailers_is_the_services_own() {
    let (mut pair, _peer, _) = scripted("", |_| Reply::grpc_status(14, "draining").into());
    let detail = pair.assert_fails_as("status", "UNAVAILABLE");
    assert_says(&detail, &["UNAVAILABLE: \"draining\"", "see the service"]);
}

#[test]
fn a_stream_that_is_reset_is_a_reset() {
    let (mut pair, peer, _) = scripted("", |_| Deed::Reset(Reason::INTERNAL_ERROR));
    let detail = pair.assert_fails_as("reset", "INTERNAL");
    assert_says(&detail, &["the stream was reset", "next hop's log"]);
    // The connection is innocent and is kept.
    assert_eq!(peer.connections(), 1);
}

#[test]
fn a_connection_closed_in_the_middle_of_an_answer_is_a_reset_and_is_opened_again() {
    let (mut pair, peer, _) = scripted("", |_| Deed::CloseMidway);
    let detail = pair.assert_fails_as("reset", "UNAVAILABLE");
    assert_says(&detail, &["the connection broke"]);
    assert!(peer.connections() >= 3, "{} connections for {} calls", peer.connections(), peer.calls());
}

#[test]
fn an_answer_that_is_no_health_message_is_a_protocol_failure() {
    let (mut pair, _peer, _) = scripted("", |_| Reply::of(&[0xff; 7]).into());
    let detail = pair.assert_fails_as("protocol", "INTERNAL");
    assert_says(&detail, &["the answer cannot be read", "check that the target offers this method"]);
}

#[test]
fn silence_behind_a_live_connection_is_a_deadline_after_the_drain() {
    let lines = "deadline = \"150ms\"\ndrain = \"150ms\"";
    let (mut pair, _peer, _) = scripted(lines, |_| Deed::Hang);
    let detail = pair.assert_fails_as("deadline", "DEADLINE_EXCEEDED");
    assert_says(&detail, &["no answer within 150ms and 150ms of drain"]);
}

#[test]
fn a_late_answer_reads_its_true_duration_and_is_counted_as_late() {
    const DELAY: Duration = Duration::from_millis(400);
    let lines = "deadline = \"100ms\"\ndrain = \"10s\"\ninterval = \"100ms\"";
    let (mut pair, _peer, _) = scripted(lines, |_| Reply::serving().after(DELAY).into());
    pair.agent.wait_for("five late answers", |seen| {
        seen.sum("insight_probe_late_total", &[BAD]).filter(|count| *count >= 5.0)
    });
    let seen = pair.assert_good_goes_on();
    assert_eq!(seen.sum("insight_probe_failures_total", &[BAD]), None, "late is not failed");
    let durations = seen.histogram("insight_probe_duration_seconds", &[BAD]).unwrap();
    let late = seen.sum("insight_probe_late_total", &[BAD]).unwrap();
    assert!(durations.count > 0.0 && durations.count <= late, "{durations:?}, {late} late");
    assert_eq!(durations.buckets.iter().find(|(bound, _)| *bound == 0.3).unwrap().1, 0.0, "{durations:?}");
    assert!(durations.mean().unwrap() >= DELAY.as_secs_f64(), "{durations:?}");
    let figure = seen.value("cross_region_latency_ms", &[("target", "far")]);
    assert!(figure.is_none_or(|ms| ms >= 400.0), "{figure:?} ms");
    assert_eq!(seen.sum("insight_probe_late_total", &[crate::pair::GOOD]).unwrap_or(0.0), 0.0);
}

#[test]
fn goaway_after_every_few_calls_costs_connections_and_no_sample() {
    let site = Site::new();
    let address = bad_address(&site);
    let peer = Peer::going_away(address, 3, |_| Reply::serving().into());
    let address = address.to_string();
    let mut pair = Pair::start(site, |config| config.probe("bad", "far", &address, "interval = \"20ms\""));
    pair.agent.wait_for("40 answers", |seen| {
        seen.sum("insight_probe_results_total", &[BAD, ("status", "OK")]).filter(|count| *count >= 40.0)
    });
    let seen = pair.assert_good_goes_on();
    assert_eq!(seen.sum("insight_probe_failures_total", &[BAD]), None, "GOAWAY cost a sample");
    let opened = seen.sum("insight_probe_connections_total", &[BAD]).unwrap();
    assert!(opened >= 10.0, "{opened} connections in {} calls of three each", peer.calls());
}

#[test]
fn goaway_with_a_reason_is_a_failure_and_calm_is_granted_when_asked_for() {
    let (mut pair, peer, _) = scripted("", |_| Deed::GoAway(Reason::ENHANCE_YOUR_CALM));
    let detail = pair.assert_fails_as("goaway", "UNAVAILABLE");
    assert_says(&detail, &["the next hop closed the connection with GOAWAY ENHANCE_YOUR_CALM: see its log"]);
    assert!(peer.connections() >= 3, "{} connections", peer.connections());
    // ENHANCE_YOUR_CALM is how gRPC servers say "too many PINGs".
    pair.agent.wait_for("PINGs to be left out", |seen| {
        seen.sum("insight_lost_total", &[("measurement", "ping"), ("loss", "backed_off")])
            .filter(|count| *count > 0.0)
    });
    // Each complaint doubles the interval of 50 ms, as far as PINGs are still sent in between: a line for
    // each, and not for each sample. Sixteen of them are more than an hour.
    let log = pair.agent.log();
    let lines = log.matches("asks for fewer PINGs").count();
    assert!((1..=17).contains(&lines), "{lines} lines: {log}");
}
