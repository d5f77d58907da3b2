//! How the agent ends while its probes do not.

use crate::pair::{BAD, PORT};
use insight_e2e::agent::{Config, Site};
use insight_e2e::peers::grpc::{Deed, Peer};
use insight_e2e::peers::tcp::Silent;
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn sigterm_ends_the_agent_at_once_although_probes_hang() {
    let site = Site::new();
    let (hanging, silent) = (site.loopback.at(2, PORT), site.loopback.at(3, PORT));
    let peer = Peer::start(hanging, |_| Deed::Hang);
    let _silent = Silent::start(silent);
    let lines = "deadline = \"1m\"\ndrain = \"1m\"\nconnections = [\"reused\", \"fresh\"]";
    let config = Config::new().probe("hanging", "far", &hanging.to_string(), lines).probe(
        "silent",
        "far",
        &silent.to_string(),
        lines,
    );
    let mut agent = site.start(&config);
    insight_e2e::wait::wait_until("hanging calls", insight_e2e::wait::PATIENCE, || {
        (peer.calls() >= 4).then_some(()).ok_or_else(|| format!("{} calls", peer.calls()))
    });
    let (code, took) = agent.stop();
    assert_eq!(code, 0, "{}", agent.log());
    // Deadline and drain are two minutes; a container's kill comes after ten seconds.
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    let log = agent.log();
    assert!(log.contains("SIGTERM: stopping") && log.contains("stopped"), "{log}");
    assert!(TcpStream::connect(site.metrics()).is_err(), "a listener is left");
}

#[test]
fn probes_that_hang_are_skipped_at_the_limit_and_the_skips_are_counted() {
    let site = Site::new();
    let hanging = site.loopback.at(2, PORT);
    let peer = Peer::start(hanging, |_| Deed::Hang);
    let lines = "deadline = \"1m\"\ndrain = \"1m\"\ninterval = \"20ms\"";
    let agent = site.start(&Config::new().probe("bad", "far", &hanging.to_string(), lines));
    agent.wait_for("skipped samples", |seen| {
        let skipped = seen.value("insight_lost_total", &[("measurement", "probe"), ("loss", "in_flight")])?;
        (skipped >= 5.0).then_some(())
    });
    // The default of probing.max_in_flight.
    assert_eq!(peer.calls(), 16);
    assert_eq!(agent.scrape().sum("insight_probe_results_total", &[BAD]), Some(0.0), "nothing has ended");
    assert!(agent.probe_status("bad")["skipped"].as_u64().unwrap() >= 5);
}
