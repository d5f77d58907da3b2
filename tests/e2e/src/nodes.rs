//! A lab whose nodes stand apart, an agent on each, and the ledger that their reports make.

use crate::http;
use crate::path::{PROBE, Turn, program};
use crate::wait::wait_until;
use insight_lab::skip::{SkipReason, skip};
use insight_lab::{Forwarder, Isolation, Lab, LabOptions};
use insight_lab::{haproxy_available, namespaces_available, nginx_available};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a lab may take until its nodes have reported on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every entry of the whole path, in its order.
pub const WHOLE: [&str; 9] = [
    "link:insight-eu>mediary-a",
    "hop:mediary-a",
    "link:mediary-a>mediary-b",
    "hop:mediary-b",
    "link:mediary-b>gateway-b",
    "hop:gateway-b",
    "link:gateway-b>service",
    "service",
    "transfer",
];

/// Two regions in namespaces, and the turn that goes with them.
pub struct Nodes {
    /// The lab.
    pub lab: Lab,
    _turn: Turn,
}

impl Nodes {
    /// Starts a lab with an agent on every node, windows of one second, and a probe each 50 ms.
    /// **None**: this machine cannot, which has been said.
    ///
    /// # Panics
    /// The lab does not start.
    pub fn start(test: &str, forwarder: Forwarder, adapt: impl FnOnce(&mut LabOptions)) -> Option<Self> {
        if let Err(reason) = namespaces_available() {
            skip(test, SkipReason::Missing(&format!("{reason} (run the tests as root, with iproute2)")));
            return None;
        }
        let installed = nginx_available().is_some() && haproxy_available().is_some();
        if forwarder != Forwarder::Embedded && !installed {
            let why = "nginx and haproxy are not installed: run `cargo xtask setup` as root";
            skip(test, SkipReason::Missing(why));
            return None;
        }
        let turn = Turn::wait();
        let mut options = LabOptions {
            forwarder,
            isolation: Isolation::Namespaces,
            node_agents: true,
            probe_interval: Duration::from_millis(50),
            ..LabOptions::new(program("insight-agent"), program("insight-lab"))
        };
        adapt(&mut options);
        Some(Self { lab: Lab::start(options).expect("start the lab"), _turn: turn })
    }

    /// The sender's `/api/v1/status`.
    pub fn status(&self) -> Value {
        status(self.lab.eu().admin)
    }

    /// The ledger of the last complete window. **None**: there is none yet.
    pub fn ledger(&self) -> Option<NodesLedger> {
        NodesLedger::of(&self.status())
    }

    fn beside(&self) -> String {
        let paired = |node: &str| {
            let agent = self.lab.agent(node)?;
            let page = http::get(agent.metrics, "/metrics", &[]).ok()?.body;
            let lines = page.lines().filter(|line| line.starts_with("insight_forward_pairs_total"));
            Some(lines.collect::<Vec<_>>().join("\n"))
        };
        format!("lost: {}; mediary-a: {}", self.status()["lost"], paired("mediary-a").unwrap_or_default())
    }

    /// Waits until the ledger shows what `look` looks for.
    ///
    /// # Panics
    /// It does not come in time.
    pub fn wait_for<T>(&self, what: &str, look: impl Fn(&NodesLedger) -> Option<T>) -> T {
        wait_until(what, PATIENCE, || {
            let ledger = self.ledger().ok_or("no ledger of the nodes")?;
            look(&ledger).ok_or_else(|| format!("{ledger:#?}"))
        })
    }

    /// Waits until every entry of the path has a figure.
    ///
    /// # Panics
    /// It does not come in time.
    pub fn wait_for_the_whole(&self) {
        self.wait_for("every entry measured", |ledger| {
            WHOLE.iter().all(|name| ledger.seconds(name).is_some()).then_some(())
        });
    }

    /// The path as it is now: medians over `windows` windows, of those that have a figure. Windows
    /// that may hold what was before the call are left out: a node's figures are used for up to five
    /// seconds.
    ///
    /// # Panics
    /// No ledger, or an entry that has no figure in most windows.
    pub fn measure(&self, windows: u32) -> Measured {
        const WINDOW: Duration = Duration::from_secs(1);
        std::thread::sleep(WINDOW * 6);
        let mut seen: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut sources: BTreeMap<String, String> = BTreeMap::new();
        for _ in 0..windows {
            std::thread::sleep(WINDOW);
            let ledger = self.ledger().expect("the ledger stays");
            for (name, entry) in ledger.entries {
                if let (Some(seconds), Some(source)) = (entry.seconds, entry.source) {
                    seen.entry(name.clone()).or_default().push(seconds);
                    sources.insert(name, source);
                }
            }
            for (name, figure) in [("unexplained", ledger.unexplained), ("end-to-end", ledger.end_to_end)] {
                seen.entry(name.to_owned()).or_default().extend(figure);
            }
        }
        let medians = seen.into_iter().map(|(name, mut values)| {
            assert!(
                values.len() * 2 > windows as usize,
                "{name} has a figure in few windows: {values:?}; {}; last: {:#?}",
                self.beside(),
                self.ledger()
            );
            values.sort_by(f64::total_cmp);
            (name, values[values.len() / 2])
        });
        Measured { seconds: medians.collect(), sources, beside: self.beside() }
    }
}

/// Medians over some windows.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Every entry with a figure, `unexplained` and `end-to-end` too. **Unit**: seconds.
    pub seconds: BTreeMap<String, f64>,
    /// What each entry rested on in the last window.
    pub sources: BTreeMap<String, String>,
    /// What the sender lost so far, and what mediary-a's forwarder paired: for a failed test.
    pub beside: String,
}

impl Measured {
    /// What an entry rested on.
    ///
    /// # Panics
    /// It had no figure.
    pub fn source(&self, name: &str) -> &str {
        self.sources.get(name).unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    /// A figure.
    ///
    /// # Panics
    /// There is none of this name.
    pub fn seconds(&self, name: &str) -> f64 {
        *self.seconds.get(name).unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }
}

/// GETs `/api/v1/status`.
///
/// # Panics
/// No good answer.
pub fn status(admin: SocketAddr) -> Value {
    let answer = http::get(admin, "/api/v1/status", &[]).expect("ask for the status");
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).expect("JSON")
}

/// One window's ledger of what the nodes measured.
#[derive(Debug, Clone)]
pub struct NodesLedger {
    /// In path order.
    pub entries: Vec<(String, Entry)>,
    /// Mean of the probe's requests.
    pub end_to_end: Option<f64>,
    /// The rest.
    pub unexplained: Option<f64>,
}

/// One of its entries.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The figure.
    pub seconds: Option<f64>,
    /// What it rests on.
    pub source: Option<String>,
    /// `probe` or `all`.
    pub population: Option<String>,
    /// Whose report.
    pub node: Option<String>,
    /// Its age, or of the silence.
    pub age: Option<f64>,
    /// Of how many.
    pub count: u64,
    /// Hops that it covers.
    pub merged: Vec<String>,
    /// What its forwarders had of their CPUs. **None**: it does not tell.
    pub host: Option<Host>,
}

/// What a hop's forwarders had of their CPUs.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// Busy share of the CPUs that they may run on.
    pub busy: Option<f64>,
    /// Seconds per second for which they were held back.
    pub throttled: Option<f64>,
    /// Seconds per second for which their threads waited for a CPU.
    pub run_delay: Option<f64>,
}

impl NodesLedger {
    /// What a status shows. **None**: no such ledger.
    pub fn of(status: &Value) -> Option<Self> {
        let path = status["paths"].as_array()?.iter().find(|path| path["target"] == "sg")?;
        let ledger = path["ledgers"]
            .as_array()?
            .iter()
            .find(|ledger| ledger["kind"] == "window" && ledger["probe"] == PROBE)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let entries = ledger["segments"].as_array()?.iter().map(|segment| {
            let merged = segment["merged"].as_array().into_iter().flatten();
            let entry = Entry {
                seconds: segment["seconds"].as_f64(),
                source: text(&segment["source"]),
                population: text(&segment["population"]),
                node: text(&segment["node"]),
                age: segment["age_seconds"].as_f64(),
                count: segment["count"].as_u64().unwrap_or(0),
                merged: merged.filter_map(text).collect(),
                host: segment["host"].as_object().map(|host| {
                    let ratio = |name: &str| host.get(name).and_then(Value::as_f64);
                    Host {
                        busy: ratio("busy_ratio"),
                        throttled: ratio("throttled_ratio"),
                        run_delay: ratio("run_delay_ratio"),
                    }
                }),
            };
            (text(&segment["name"]).unwrap_or_default(), entry)
        });
        Some(Self {
            entries: entries.collect(),
            end_to_end: ledger["end_to_end_seconds"].as_f64(),
            unexplained: ledger["unexplained_seconds"].as_f64(),
        })
    }

    /// An entry. **None**: there is none of this name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|(entry, _)| entry == name).map(|(_, entry)| entry)
    }

    /// An entry's figure. **None**: no entry, or no figure.
    pub fn seconds(&self, name: &str) -> Option<f64> {
        self.entry(name)?.seconds
    }
}
