//! A bad probe beside a good one in the same agent: what fails is named, what works goes on.

use insight_e2e::agent::{Agent, Config, Site};
use insight_e2e::exposition::Exposition;
use insight_e2e::peers::grpc::Peer;
use std::net::SocketAddr;

/// Host part of the healthy peer.
const GOOD_HOST: u8 = 2;
/// Host part of the peer under test.
const BAD_HOST: u8 = 3;
/// Every peer's port.
pub const PORT: u16 = 15_051;

/// The labels of the good and of the bad probe.
pub const GOOD: (&str, &str) = ("probe", "good");
pub const BAD: (&str, &str) = ("probe", "bad");

/// An agent with both probes. Fields are dropped in order: the agent before its peers.
pub struct Pair {
    pub agent: Agent,
    _good: Peer,
    _site: Site,
}

/// Where the peer under test listens.
pub fn bad_address(site: &Site) -> SocketAddr {
    site.loopback.at(BAD_HOST, PORT)
}

impl Pair {
    /// Starts the agent with a good probe and with `bad_probe` added to its configuration, which
    /// must name that probe "bad" and its target "far".
    pub fn start(site: Site, bad_probe: impl FnOnce(Config) -> Config) -> Self {
        let address = site.loopback.at(GOOD_HOST, PORT);
        let good = Peer::healthy(address);
        let config = Config::new().probe("good", "near", &address.to_string(), "");
        let agent = site.start(&bad_probe(config));
        Self { agent, _good: good, _site: site }
    }

    /// Waits until the bad probe has failed three times in this class, then checks everything that
    /// holds for a failure of any kind. Returns the status page's text about the last failure.
    pub fn assert_fails_as(&mut self, class: &str, status: &str) -> String {
        let labels = [BAD, ("class", class)];
        self.agent.wait_for(&format!("three failures of class {class}"), |seen| {
            seen.sum("insight_probe_failures_total", &labels).filter(|count| *count >= 3.0)
        });
        let seen = self.assert_good_goes_on();
        let failures: Vec<_> = seen.samples("insight_probe_failures_total", &[BAD]).collect();
        assert!(failures.iter().all(|f| f.has(&labels)), "another class than {class}: {failures:?}");
        let results = seen.samples("insight_probe_results_total", &[BAD]).filter(|r| r.value > 0.0);
        let results: Vec<_> = results.collect();
        assert!(results.iter().all(|r| r.has(&[("status", status)])), "not only {status}: {results:?}");
        self.assert_never_a_latency(&seen);

        let probe = self.agent.probe_status("bad");
        assert_eq!(probe["ok"], 0, "{probe}");
        assert_eq!(probe["latency"], serde_json::Value::Null, "{probe}");
        let last = &probe["last_failure"];
        assert_eq!((last["class"].as_str(), last["status"].as_str()), (Some(class), Some(status)), "{probe}");
        last["detail"].as_str().unwrap().to_owned()
    }

    /// Waits until the good probe has succeeded another five times and its path has its figure;
    /// the agent runs and is ready.
    pub fn assert_good_goes_on(&mut self) -> Exposition {
        let ok = |seen: &Exposition| {
            seen.sum("insight_probe_results_total", &[GOOD, ("status", "OK")]).unwrap_or(0.0)
        };
        let before = ok(&self.agent.scrape());
        let seen = self.agent.wait_for("the good probe to go on", |seen| {
            let figure = seen.value("cross_region_latency_ms", &[("source", "eu"), ("target", "near")]);
            (ok(seen) >= before + 5.0 && figure.is_some_and(|ms| ms > 0.0)).then(|| seen.clone())
        });
        assert_eq!(seen.sum("insight_probe_failures_total", &[GOOD]), None, "the good probe failed");
        assert!(self.agent.process.ended().is_none(), "the agent ended");
        assert_eq!(self.agent.admin("/-/ready", &[]).status, 200);
        seen
    }

    /// A failure is no latency: it enters no distribution, and the pair has no figure.
    fn assert_never_a_latency(&self, seen: &Exposition) {
        let duration = seen.histogram("insight_probe_duration_seconds", &[BAD]);
        assert_eq!(duration.map(|all| all.count), Some(0.0), "a failure was recorded as a latency");
        let figures: Vec<_> = seen.samples("cross_region_latency_ms", &[("target", "far")]).collect();
        assert!(figures.is_empty(), "a path without a success has a figure: {figures:?}");
        assert_eq!(seen.value("insight_probe_success_ratio", &[BAD]), Some(0.0));
    }
}

/// Asserts that `text` has every part: what, where, which value, what to do.
#[track_caller]
pub fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
}
