//! Several connections through HAProxy, which leads each of them to another backend.

use crate::servers::haproxy;
use crate::{at, mean};
use insight_e2e::agent::{Config, Site};
use insight_e2e::equipment::{Program, has};
use insight_e2e::exposition::Exposition;
use insight_e2e::peers::grpc::{Peer, Reply};
use std::net::SocketAddr;
use std::time::Duration;

/// What the slow backend adds: far beyond what a loaded machine adds to the mean of the others.
const SLOW: Duration = Duration::from_millis(150);
const PROBE: (&str, &str) = ("probe", "balanced");

/// Connections, not requests, go round: a balancer of TCP.
fn blocks(listen: SocketAddr, backends: &[SocketAddr]) -> String {
    let servers: String =
        backends.iter().zip(0..).map(|(at, number)| format!("  server s{number} {at}\n")).collect();
    format!(
        "frontend in\n  mode tcp\n  bind {listen}\n  timeout client 60s\n  default_backend all\n\
         backend all\n  mode tcp\n  balance roundrobin\n  timeout server 60s\n{servers}"
    )
}

fn slots(seen: &Exposition, family: &str) -> Vec<f64> {
    let figure = |slot: &str| seen.value(family, &[PROBE, ("slot", slot)]);
    ["0", "1", "2"].into_iter().map_while(figure).collect()
}

#[test]
fn each_backend_is_one_slots_and_the_slow_and_the_failing_one_are_found() {
    if !has("each_backend_is_one_slots_and_the_slow_and_the_failing_one_are_found", &[Program::Haproxy]) {
        return;
    }
    let site = Site::new();
    let [balancer, fast, slow, failing] = [3, 4, 5, 6].map(|host| at(&site, host));
    let _fast = Peer::healthy(fast);
    let _slow = Peer::start(slow, |_| Reply::serving().after(SLOW).into());
    let _failing = Peer::start(failing, |_| Reply::http(503).into());
    // HAProxy's own listener is waited for by a connection, which takes a turn: which slot meets which backend
    // is not known before, but each meets one.
    let _haproxy = haproxy(&site, &[balancer], &blocks(balancer, &[fast, slow, failing]));
    let config = Config::new().probe(
        PROBE.1,
        "sg",
        &balancer.to_string(),
        "reused_connections = 3\ndeadline = \"5s\"",
    );
    let agent = site.start(&config);
    let seen = agent.wait_for("ten samples on each slot", |seen| {
        let answers = slots(seen, "insight_probe_slot_seconds_count");
        let failures = slots(seen, "insight_probe_slot_failures_total");
        let sent: Vec<_> = answers.iter().zip(&failures).map(|(a, b)| a + b).collect();
        (sent.len() == 3 && sent.iter().all(|sent| *sent >= 10.0)).then(|| seen.clone())
    });
    assert_eq!(
        slots(&seen, "insight_probe_slot_connections_total"),
        [1.0; 3],
        "nobody was led elsewhere since"
    );
    let means: Vec<_> = ["0", "1", "2"]
        .map(|slot| mean(&seen, "insight_probe_slot_seconds", &[PROBE, ("slot", slot)]))
        .into();
    let failures = slots(&seen, "insight_probe_slot_failures_total");
    let failing: Vec<_> = failures.iter().map(|count| *count > 0.0).collect();
    assert_eq!(failing.iter().filter(|is| **is).count(), 1, "{failures:?}");
    assert!(
        means.iter().zip(&failing).all(|(mean, failing)| mean.is_none() == *failing),
        "{means:?} {failing:?}"
    );
    let slow = SLOW.as_secs_f64();
    let (above, below): (Vec<_>, Vec<_>) =
        means.iter().flatten().copied().partition(|mean: &f64| *mean >= slow);
    assert_eq!((above.len(), below.len()), (1, 1), "{means:?}");
    assert!(above[0] < slow + 0.1, "the delay comes back as itself: {means:?}");

    let shown = agent.probe_status(PROBE.1);
    let shown = shown["slots"].as_array().unwrap();
    assert_eq!(shown.len(), 3);
    for (status, failing) in shown.iter().zip(failing) {
        assert_eq!(status["last_failure"].is_null(), !failing, "{status}");
        assert_eq!(status["opened"], 1, "{status}");
    }
}
