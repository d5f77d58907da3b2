//! A change for the worse is looked at more closely at once.

use crate::case::at;
use insight_e2e::agent::{Config, Site};
use insight_e2e::peers::grpc::{Peer, Reply};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SLOW: Duration = Duration::from_millis(80);

/// Good answers at once, and late ones once it is told so.
fn peer(address: SocketAddr, is_slow: &Arc<AtomicBool>) -> Peer {
    let is_slow = Arc::clone(is_slow);
    Peer::start(address, move |_| {
        let delay = if is_slow.load(Ordering::SeqCst) { SLOW } else { Duration::ZERO };
        Reply::serving().after(delay).into()
    })
}

#[test]
fn a_path_that_becomes_slower_is_sampled_ten_times_more_in_figures_apart() {
    let site = Site::new();
    let looked = at(&site, 3);
    let is_slow = Arc::new(AtomicBool::new(false));
    let peer = peer(looked, &is_slow);
    let lines = "interval = \"500ms\"\ndeadline = \"5s\"\nconnections = [\"reused\"]\n";
    let config = Config::new().probe("looked", "far", &looked.to_string(), lines);
    let agent = site.start(&config);
    let of = [("probe", "looked")];
    let results = [of[0], ("status", "OK")];
    agent.wait_for("ten good samples", |seen| {
        seen.sum("insight_probe_results_total", &results).filter(|count| *count >= 10.0)
    });
    assert_eq!(
        agent.scrape().sum("insight_probe_bursts_total", &of).unwrap_or(0.0),
        0.0,
        "nothing was worse"
    );
    is_slow.store(true, Ordering::SeqCst);

    let good = [of[0], ("outcome", "good")];
    agent.wait_for("ten samples of a closer look", |seen| {
        seen.sum("insight_probe_burst_samples_total", &good).filter(|count| *count >= 10.0)
    });
    let seen = agent.scrape();
    assert_eq!(seen.sum("insight_probe_bursts_total", &[of[0], ("cause", "latency")]), Some(1.0));
    let sum = seen.sum("insight_probe_burst_duration_seconds_sum", &of).unwrap();
    assert!(sum >= 10.0 * SLOW.as_secs_f64(), "{sum} s for ten");
    let burst = &agent.probe_status("looked")["burst"];
    assert!(burst["before_seconds"].as_f64().unwrap() < SLOW.as_secs_f64() / 2.0, "{burst}");
    assert!(burst["latency_seconds"][0].as_f64().unwrap() >= SLOW.as_secs_f64(), "{burst}");

    // It stays slow, and that is no news; nothing else counts those ten.
    std::thread::sleep(Duration::from_secs(2));
    let seen = agent.scrape();
    assert_eq!(seen.sum("insight_probe_burst_samples_total", &of), Some(10.0));
    let (answered, counted) = (peer.calls(), seen.sum("insight_probe_results_total", &of).unwrap());
    // A sample may be under way.
    assert!((10.0..=12.0).contains(&(answered as f64 - counted)), "{answered} requests, {counted} samples");
}
