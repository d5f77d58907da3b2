//! An agent that is stopped for longer than its deadlines: nobody is blamed for it.

use crate::case::{Case, at, bad};
use insight_e2e::agent::Site;
use insight_e2e::peers::grpc::{Peer, Reply};
use insight_e2e::wait::{PATIENCE, wait_until};
use nix::sys::signal::Signal;
use std::time::Duration;

#[test]
fn a_stopped_agent_blames_nobody_when_it_goes_on() {
    let site = Site::new();
    let slow = at(&site, 3);
    // So slow that there are always some under way, and far from late.
    let peer = Peer::start(slow, |_| Reply::serving().after(Duration::from_millis(150)).into());
    let mut case = Case::start(&site, |config| bad(config, "slow", &slow.to_string(), "interval = \"50ms\""));
    let of = [("probe", "slow"), ("status", "OK")];
    let answers = "insight_probe_results_total";
    let enough = |more: f64| move |seen: &_| ok(seen, &of).filter(|count| *count >= more);
    case.agent.wait_for("answers", enough(20.0));

    // Three times, to catch samples in any phase. Each stop is five times the deadline and its drain.
    for _ in 0..3 {
        let before = peer.calls();
        wait_until("a call under way", PATIENCE, || {
            (peer.calls() > before).then_some(()).ok_or_else(|| "none".to_owned())
        });
        case.agent.process.signal(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_secs(3));
        case.agent.process.signal(Signal::SIGCONT);
        let now = ok(&case.agent.scrape(), &of).unwrap();
        case.agent.wait_for("answers again", enough(now + 20.0));
    }
    let seen = case.assert_good_goes_on();
    let failures: Vec<_> = seen.samples("insight_probe_failures_total", &[]).collect();
    assert!(failures.is_empty(), "somebody is blamed for a stopped agent: {failures:?}");
    let voided = seen.value("insight_lost_total", &[("measurement", "probe"), ("loss", "voided")]).unwrap();
    assert!(voided >= 3.0, "{voided} voided: each stop had samples under way");
    assert!(case.agent.probe_status("slow")["voided"].as_u64().unwrap() >= 1);
    // What the stop added to those is in no latency.
    for connection in ["reused", "fresh"] {
        let duration = seen
            .histogram("insight_probe_duration_seconds", &[("probe", "slow"), ("connection", connection)])
            .unwrap();
        let below = duration.buckets.iter().find(|(bound, _)| *bound == 2.0).unwrap().1;
        assert_eq!(below, duration.count, "{duration:?}");
    }
    let statuses = seen.samples(answers, &[("probe", "slow")]);
    assert!(statuses.filter(|sample| sample.value > 0.0).all(|sample| sample.has(&of)), "only OK is counted");
}

fn ok(seen: &insight_e2e::exposition::Exposition, of: &[(&str, &str)]) -> Option<f64> {
    seen.sum("insight_probe_results_total", of)
}
