//! Our `node_*` families against a real node_exporter: the same names, types, labels and figures.
//!
//! Each round reads ours between two scrapes of theirs. A counter must lie between the two in every
//! round; anything else must do so in one of the rounds at least, since it may rise and fall again
//! within a round, but a wrong unit or source never fits. What differs on purpose stands in
//! `node-exporter-exceptions.txt` with its reason.

use insight_e2e::agent::{Agent, Config, Site};
use insight_e2e::equipment::{Program, has};
use insight_e2e::exposition::{Exposition, Labels, Sample, Type};
use insight_e2e::http;
use insight_e2e::loopback::Loopback;
use insight_e2e::process::Process;
use insight_e2e::wait::{PATIENCE, wait_until};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

/// What may differ: one line of `finding reason` each, `*` for any text.
const EXCEPTIONS: &str = include_str!("node-exporter-exceptions.txt");

/// Rounds at least, so that counters have moved; and at most, for gauges that move all the time.
const ROUNDS: std::ops::Range<usize> = 25..100;

/// What all names of a collector begin with whose every family of theirs we should have.
const COVERED: [&str; 14] = [
    "node_cpu_seconds_",
    "node_cpu_guest_",
    "node_load",
    "node_pressure_",
    "node_memory_",
    "node_network_receive_",
    "node_softnet_",
    "node_netstat_",
    "node_sockstat_",
    "node_nf_conntrack_",
    "node_procs_",
    "node_uname_",
    "node_boot_",
    "node_forks_",
];

/// Seconds that a CPU's idle and I/O waiting time may jump back by between readers, each of which
/// keeps the highest figure of its own: the kernel estimates them while a CPU sleeps.
const JUMP_BACK: f64 = 0.05;

/// A running agent that reads this host once a second.
struct Ours {
    agent: Agent,
}

impl Ours {
    fn start(site: &Site) -> Self {
        Self { agent: site.start(&Config::new().tables("[host]\nperiod = \"1s\"\n")) }
    }

    /// A scrape of a reading that is younger than the call.
    fn scrape(&self) -> String {
        let switches = |text: &str| {
            let mut lines = text.lines().map(str::to_owned);
            lines.find(|line| line.starts_with("node_context_switches_total "))
        };
        let old = switches(&self.agent.metrics_text());
        wait_until("the agent's next reading", PATIENCE, || {
            let text = self.agent.metrics_text();
            let now = switches(&text);
            if now.is_some() && now != old { Ok(text) } else { Err(format!("{now:?} as before")) }
        })
    }
}

fn scrape(theirs: SocketAddr) -> Result<Exposition, String> {
    let answer = http::get(theirs, "/metrics", &[]).map_err(|error| error.to_string())?;
    Exposition::parse(&answer.body).map_err(|error| error.to_string())
}

#[test]
fn every_node_family_is_node_exporters_in_name_type_labels_and_figures() {
    let name = "every_node_family_is_node_exporters_in_name_type_labels_and_figures";
    if !has(name, &[Program::NodeExporter]) {
        return;
    }
    let loopback = Loopback::claim();
    let address = loopback.at(1, 9100);
    let folder = tempfile::tempdir().expect("make a folder for the log");
    let mut command = Command::new(Program::NodeExporter.path());
    // Its only collector here that asks another program, and complains where there is none.
    command.arg(format!("--web.listen-address={address}")).arg("--no-collector.systemd");
    let _exporter = Process::start("node_exporter", command, &folder.path().join("log"));
    let mut before = wait_until("node_exporter's first scrape", PATIENCE, || scrape(address));

    let site = Site::new();
    let ours = Ours::start(&site);
    let mut comparison = Comparison::default();
    for round in 0..ROUNDS.end {
        // Theirs is scraped over a connection and counts its two sockets; ours shall see two as well.
        let connection = TcpStream::connect(address).expect("connect to node_exporter");
        let text = ours.scrape();
        drop(connection);
        let shown = Exposition::parse(&text).expect("parse our own exposition");
        let after = scrape(address).expect("scrape node_exporter");
        comparison.add(&before, &shown, &after);
        before = after;
        if round >= ROUNDS.start && comparison.unfit.is_empty() {
            break;
        }
    }
    comparison.judge();
}

/// What the rounds have shown.
#[derive(Default)]
struct Comparison {
    /// What differs in any round, apart from gauges' figures.
    findings: BTreeMap<String, String>,
    /// Series other than counters that have fitted in some round.
    fit: BTreeSet<String>,
    /// Those that have not so far, with what was seen last.
    unfit: BTreeMap<String, String>,
    compared: usize,
}

impl Comparison {
    fn add(&mut self, before: &Exposition, ours: &Exposition, after: &Exposition) {
        for (name, family) in ours.families.iter().filter(|(name, _)| name.starts_with("node_")) {
            let (Some(first), Some(last)) = (before.families.get(name), after.families.get(name)) else {
                self.find(format!("missing:{name}"), "node_exporter has no such family".into());
                continue;
            };
            if first.kind != family.kind {
                self.find(format!("type:{name}"), format!("{:?}, theirs {:?}", family.kind, first.kind));
            }
            let (first, last) = (by_labels(&first.samples), by_labels(&last.samples));
            let ours = by_labels(&family.samples);
            // A device or CPU may come or go within a round.
            for key in first.keys().filter(|key| last.contains_key(*key) && !ours.contains_key(*key)) {
                self.find(format!("lacking:{name}{key}"), "only node_exporter has it".into());
            }
            for (key, value) in &ours {
                match (first.get(key), last.get(key)) {
                    (None, None) => {
                        self.find(format!("extra:{name}{key}"), "node_exporter does not have it".into());
                    }
                    (Some(first), Some(last)) => {
                        self.compare(&format!("{name}{key}"), family.kind, [*first, *value, *last]);
                    }
                    _ => {}
                }
            }
        }
        let theirs = before.families.keys().filter(|name| after.families.contains_key(*name));
        for name in theirs.filter(|name| !ours.families.contains_key(*name)) {
            if COVERED.iter().any(|prefix| name.starts_with(prefix)) {
                self.find(format!("absent:{name}"), "we do not have this family".into());
            }
        }
    }

    fn compare(&mut self, series: &str, kind: Type, [first, ours, last]: [f64; 3]) {
        self.compared += 1;
        let estimated = series.starts_with("node_cpu_seconds_total");
        let slack = if estimated { JUMP_BACK } else { 1e-9 * ours.abs() };
        let fits = (first.min(last) - slack..=first.max(last) + slack).contains(&ours);
        let seen = format!("{first} and {last}, ours in between {ours}");
        if kind == Type::Counter {
            if !fits {
                self.find(format!("value:{series}"), seen);
            }
        } else if fits {
            self.fit.insert(series.to_owned());
            self.unfit.remove(series);
        } else if !self.fit.contains(series) {
            self.unfit.insert(series.to_owned(), seen);
        }
    }

    fn find(&mut self, finding: String, detail: String) {
        self.findings.insert(finding, detail);
    }

    fn judge(mut self) {
        let unfit = std::mem::take(&mut self.unfit);
        for (series, seen) in unfit {
            self.find(format!("value:{series}"), format!("in {} rounds: {seen}", ROUNDS.end));
        }
        assert!(self.compared > 500, "only {} figures were compared", self.compared);
        let known: Vec<&str> = EXCEPTIONS
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        let unknown: Vec<String> = self
            .findings
            .iter()
            .filter(|(finding, _)| !known.iter().any(|pattern| matches(pattern, finding)))
            .map(|(finding, detail)| format!("{finding}: {detail}"))
            .collect();
        assert!(unknown.is_empty(), "differs from node_exporter:\n{}", unknown.join("\n"));
        let needless: Vec<_> = known
            .into_iter()
            .filter(|pattern| !self.findings.keys().any(|finding| matches(pattern, finding)))
            .collect();
        assert!(needless.is_empty(), "exceptions that nothing needs any more: {needless:?}");
    }
}

/// Values by `{label=value,…}`, without white space, so that a finding is one word.
fn by_labels(samples: &[Sample]) -> BTreeMap<String, f64> {
    samples.iter().map(|sample| (key(&sample.labels), sample.value)).collect()
}

fn key(labels: &Labels) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let key = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
    key.split_whitespace().collect::<Vec<_>>().join("_")
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|behind| {
            (0..=behind.len())
                .filter(|at| behind.is_char_boundary(*at))
                .any(|at| matches(rest, &behind[at..]))
        }),
    }
}

#[test]
fn an_exceptions_star_stands_for_any_text() {
    assert!(matches("extra:node_*_total{device=lo}", "extra:node_x_total{device=lo}"));
    assert!(!matches("extra:node_*_total{device=lo}", "extra:node_x_total{device=eth0}"));
    assert!(!matches("type:node_x", "type:node_xy"));
}

#[test]
fn node_families_and_the_hosts_reading_can_be_switched_off() {
    let family = |agent: &Agent| {
        let text = agent.metrics_text();
        text.lines().find(|line| line.starts_with("node_")).map(str::to_owned)
    };
    let states = |agent: &Agent| {
        let all = agent.status()["measurements"].clone();
        let host = all.as_array().into_iter().flatten().find(|row| row["name"] == "host");
        host.map(|row| (row["state"].clone(), row["reason"].clone()))
    };
    let site = Site::new();
    let without = site.start(&Config::new().tables("[host]\nnode_metrics = false\nperiod = \"1s\"\n"));
    wait_until("the host half's state", PATIENCE, || match states(&without) {
        Some((state, _)) if state == "active" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(family(&without), None);
    let site = Site::new();
    let off = site.start(&Config::new().tables("[host]\nenabled = false\n"));
    wait_until("the host half's state", PATIENCE, || match states(&off) {
        Some((state, reason)) if state == "disabled" && reason == "off" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(family(&off), None);
}
