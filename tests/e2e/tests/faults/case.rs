//! Several faults beside a good probe in one agent, and what is asserted of each.

use insight_e2e::agent::{Agent, Config, Site};
use insight_e2e::exposition::Exposition;
use insight_e2e::peers::grpc::Peer;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// Every peer's port.
pub const PORT: u16 = 15_051;
/// Host part of the healthy peer.
const GOOD_HOST: u8 = 2;
const GOOD: (&str, &str) = ("probe", "good");

/// The deadline of every bad probe, and of one-shot ones.
pub const DEADLINE: Duration = Duration::from_millis(400);
const DRAIN: Duration = Duration::from_millis(200);
/// How much later than its deadline a probe may end. The least of several counts: a loaded machine
/// keeps a process from running now and then.
const OVERRUN: Duration = Duration::from_millis(50);

/// How a fault ends a probe.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub class: &'static str,
    pub phase: &'static str,
    pub status: &'static str,
}

/// `class`, `phase` and `status` of a fault.
pub const fn ends(class: &'static str, phase: &'static str, status: &'static str) -> Ends {
    Ends { class, phase, status }
}

/// An agent with a good probe and bad ones. Fields are dropped in order: the agent before its peer.
pub struct Case {
    pub agent: Agent,
    _good: Peer,
}

/// A bad black-box probe: both kinds of connection, a sample of each in 100 ms. `lines` are further keys,
/// or take the place of those.
pub fn bad(config: Config, name: &str, address: &str, lines: &str) -> Config {
    config.probe(name, "far", address, &with_timing(lines))
}

/// The same for a receiver, which is sent a payload.
pub fn bad_white_box(config: Config, name: &str, address: &str, lines: &str) -> Config {
    config.white_box(name, "far", address, &with_timing(lines))
}

fn with_timing(lines: &str) -> String {
    let (deadline, drain) = (DEADLINE.as_millis(), DRAIN.as_millis());
    let defaults = [
        ("interval", "\"100ms\"".to_owned()),
        ("deadline", format!("\"{deadline}ms\"")),
        ("drain", format!("\"{drain}ms\"")),
        ("connections", "[\"reused\", \"fresh\"]".to_owned()),
    ];
    let missing = defaults.iter().filter(|(key, _)| !lines.lines().any(|line| line.starts_with(key)));
    missing.map(|(key, value)| format!("{key} = {value}\n")).collect::<String>() + lines
}

/// The address number `host` of the site's block, as a probe writes it.
pub fn at(site: &Site, host: u8) -> SocketAddr {
    site.loopback.at(host, PORT)
}

impl Case {
    /// Starts the agent with a good probe and with what `probes` adds.
    pub fn start(site: &Site, probes: impl FnOnce(Config) -> Config) -> Self {
        let (good, config) = Self::good(site);
        Self { agent: site.start(&probes(config)), _good: good }
    }

    /// The good peer, and a configuration with its probe.
    pub fn good(site: &Site) -> (Peer, Config) {
        let address = at(site, GOOD_HOST);
        let good = Peer::healthy(address);
        (good, Config::new().probe("good", "near", &address.to_string(), ""))
    }

    /// Of a good peer and an agent that were started apart.
    pub fn of(good: Peer, agent: Agent) -> Self {
        Self { agent, _good: good }
    }

    /// Waits until the probe has failed three times on each kind of connection, always so, and checks
    /// what holds for a failure of any kind. Returns its text.
    #[track_caller]
    pub fn assert_fails(&mut self, probe: &str, how: Ends) -> String {
        for connection in ["reused", "fresh"] {
            self.assert_fails_on(probe, connection, how);
        }
        let last = self.agent.probe_status(probe)["last_failure"].clone();
        let said = [&last["class"], &last["phase"], &last["status"]];
        assert_eq!(said, [how.class, how.phase, how.status], "{last}");
        last["detail"].as_str().unwrap().to_owned()
    }

    /// The same of one kind of connection.
    #[track_caller]
    pub fn assert_fails_on(&mut self, probe: &str, connection: &str, how: Ends) {
        let of = [("probe", probe), ("connection", connection)];
        let exact = [of[0], of[1], ("class", how.class), ("phase", how.phase)];
        self.agent.wait_for(&format!("three failures of {probe} on {connection} as {how:?}"), |seen| {
            seen.sum("insight_probe_failures_total", &exact).filter(|count| *count >= 3.0)
        });
        let seen = self.agent.scrape();
        let failures: Vec<_> = seen.samples("insight_probe_failures_total", &of).collect();
        assert!(failures.iter().all(|sample| sample.has(&exact)), "not always {how:?}: {failures:?}");
        let results: Vec<_> =
            seen.samples("insight_probe_results_total", &of).filter(|sample| sample.value > 0.0).collect();
        assert!(results.iter().all(|sample| sample.has(&[("status", how.status)])), "{results:?}");
        assert_no_latency(&seen, probe, connection);
    }

    /// Waits until the good probe has succeeded another ten times, and has never failed.
    #[track_caller]
    pub fn assert_good_goes_on(&mut self) -> Exposition {
        let ok = |seen: &Exposition| {
            seen.sum("insight_probe_results_total", &[GOOD, ("status", "OK")]).unwrap_or(0.0)
        };
        let before = ok(&self.agent.scrape());
        let seen = self
            .agent
            .wait_for("the good probe to go on", |seen| (ok(seen) >= before + 10.0).then(|| seen.clone()));
        assert_eq!(seen.sum("insight_probe_failures_total", &[GOOD]), None, "the good probe failed");
        assert!(self.agent.process.ended().is_none(), "the agent ended");
        seen
    }

    /// Looks at the status page for three seconds: the failures of fresh connections that it shows were
    /// known no sooner than after `patience` on the agent's own clock, the shortest within 50 ms of it.
    /// (On a reused connection, whoever waited for another sample's opening shares its end.)
    #[track_caller]
    pub fn assert_deadline_is_kept(&self, probe: &str, patience: Duration) {
        assert_kept(&self.took(probe), patience);
    }

    /// The times that it shows, over three seconds.
    pub fn took(&self, probe: &str) -> Vec<Duration> {
        let mut seen = Vec::new();
        for _ in 0..15 {
            let status = self.agent.status();
            let of = |at: &&Value| at["probe"] == probe && at["connection"] == "fresh";
            let found = status["probes"].as_array().unwrap().iter().find(of);
            let took = found.and_then(|found| found["last_failure"]["took_seconds"].as_f64());
            seen.extend(took.map(Duration::from_secs_f64));
            std::thread::sleep(Duration::from_millis(200));
        }
        seen
    }
}

/// The shortest of these times is not before `patience` and within 50 ms of it.
#[track_caller]
pub fn assert_kept(took: &[Duration], patience: Duration) {
    let least = *took.iter().min().unwrap();
    println!("{patience:?} were waited for: {took:?}");
    assert!(least >= patience && least < patience + OVERRUN, "{patience:?} were to be waited: {took:?}");
}

/// No failure is in any distribution, not even as 0.
#[track_caller]
pub fn assert_no_latency(seen: &Exposition, probe: &str, connection: &str) {
    let of = [("probe", probe), ("connection", connection)];
    let duration = seen.histogram("insight_probe_duration_seconds", &of).map(|all| (all.count, all.sum));
    assert_eq!(duration, Some((0.0, 0.0)), "a failure of {probe} was recorded as a latency");
    for phase in ["request", "wait", "response"] {
        let of = [of[0], of[1], ("phase", phase)];
        let figure = |name| seen.value(&format!("insight_probe_phase_seconds_{name}"), &of);
        assert_eq!([figure("count"), figure("sum")], [Some(0.0); 2], "{probe}: {of:?}");
    }
    let ratio = seen.value("insight_probe_success_ratio", &of);
    assert!(ratio.is_none_or(|ratio| ratio == 0.0), "{probe}: a success ratio of {ratio:?}");
}

/// `insight-agent probe` of an address: each sample ends so, and none has a latency. Returns the JSON.
#[track_caller]
pub fn assert_one_shot(site: &Site, address: &str, more: &[&str], how: Ends) -> Value {
    let report = one_shot(site, address, more);
    let samples = report["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 3, "one fresh and two reused");
    for sample in samples {
        assert_eq!(sample["outcome"], "failed", "{sample}");
        let said = [&sample["failure_class"], &sample["failure_phase"], &sample["status"]];
        assert_eq!(said, [how.class, how.phase, how.status], "{sample}");
        assert_eq!(sample["total_seconds"], Value::Null, "a failure has no latency: {sample}");
    }
    report
}

/// The report of `insight-agent probe`.
#[track_caller]
pub fn one_shot(site: &Site, address: &str, more: &[&str]) -> Value {
    let (deadline, drain) = (format!("{}ms", DEADLINE.as_millis()), format!("{}ms", DRAIN.as_millis()));
    let mut arguments = vec!["probe", address, "--count", "2", "--interval", "10ms", "--output", "json"];
    arguments.extend(["--deadline", &deadline, "--drain", &drain]);
    if !more.contains(&"--mode") {
        arguments.extend(["--mode", "black-box"]);
    }
    arguments.extend(more);
    let finished = site.execute(&arguments);
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error} in {finished:?}"))
}

/// Each of the report's samples ended within its patience, on the agent's own clock: the shortest of them
/// within 50 ms of it, and none before.
#[track_caller]
pub fn assert_ended_at(report: &Value, patience: Duration) {
    let samples = report["samples"].as_array().unwrap();
    let took: Vec<_> = samples
        .iter()
        .map(|sample| Duration::from_secs_f64(sample["took_seconds"].as_f64().unwrap()))
        .collect();
    assert_kept(&took, patience);
}

/// What a probe waits for an answer.
pub fn patience() -> Duration {
    DEADLINE + DRAIN
}

#[track_caller]
pub fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
}

/// How often an event was counted for a probe.
pub fn events(seen: &Exposition, probe: &str, event: &str, reason: &str) -> f64 {
    let labels = [("probe", probe), ("event", event), ("reason", reason)];
    seen.sum("insight_probe_connection_events_total", &labels).unwrap_or(0.0)
}
