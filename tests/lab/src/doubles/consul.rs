//! A double of a Consul agent's HTTP API: `/v1/catalog/services` and `/v1/health/service/NAME` with blocking queries.

use super::http::{Reply, Request, Server, lock};
use anyhow::Result;
use rand::Rng;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// What a query that says nothing waits, and the most that it may.
const WAIT: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(600));

/// One instance of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsulInstance {
    /// Unique in its service.
    pub id: String,
    /// Its node's name.
    pub node: String,
    /// Its own address; empty leaves its node's, 127.0.0.1.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its meta data.
    pub meta: BTreeMap<String, String>,
    /// The state of its one check: `passing`, `warning` or `critical`.
    pub health: String,
}

impl ConsulInstance {
    /// A passing one on node `n1`.
    pub fn new(id: &str, address: &str, port: u16) -> Self {
        Self {
            id: id.into(),
            node: "n1".into(),
            address: address.into(),
            port,
            tags: Vec::new(),
            meta: BTreeMap::new(),
            health: "passing".into(),
        }
    }

    /// With these tags.
    #[must_use]
    pub fn tagged(mut self, tags: &[&str]) -> Self {
        self.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        self
    }

    /// With this state of its check.
    #[must_use]
    pub fn with_health(mut self, health: &str) -> Self {
        self.health = health.into();
        self
    }

    fn json(&self, service: &str) -> Value {
        json!({
            "Node": {"ID": "40e4a748", "Node": self.node, "Address": "127.0.0.1", "Datacenter": "dc1",
                     "TaggedAddresses": null, "Meta": {"rack": "7"}},
            "Service": {"ID": self.id, "Service": service, "Tags": self.tags, "Address": self.address,
                        "Meta": self.meta, "Port": self.port, "Weights": {"Passing": 1, "Warning": 1}},
            "Checks": [
                {"Node": self.node, "CheckID": "serfHealth", "Status": "passing", "ServiceID": ""},
                {"Node": self.node, "CheckID": format!("service:{}", self.id), "Status": self.health},
            ],
        })
    }
}

#[derive(Debug)]
struct State {
    /// Of the last change.
    index: u64,
    services: BTreeMap<String, BTreeMap<String, ConsulInstance>>,
    /// Of the last change of each service, also of one that has gone.
    indexes: BTreeMap<String, u64>,
    /// What `x-consul-index` says instead of the truth.
    said_index: Option<Option<u64>>,
    token: Option<String>,
    filtered: bool,
    known_leader: bool,
    last_contact: Duration,
    /// How often the state was replaced, which ends every query that is held.
    restored: u64,
    /// Queries that wait for a change.
    held: usize,
}

type Shared = Arc<(Mutex<State>, watch::Sender<()>)>;

/// A double of Consul. Dropping it ends it.
#[derive(Debug)]
pub struct ConsulDouble {
    shared: Shared,
    /// Its listener: stops, restarts, faults, and what was asked.
    pub server: Server,
}

impl ConsulDouble {
    /// Without any service, at index 10.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(address: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> Result<Self> {
        let state = State {
            index: 10,
            services: BTreeMap::new(),
            indexes: BTreeMap::new(),
            said_index: None,
            token: None,
            filtered: false,
            known_leader: true,
            last_contact: Duration::ZERO,
            restored: 0,
            held: 0,
        };
        let shared: Shared = Arc::new((Mutex::new(state), watch::Sender::new(())));
        let answering = Arc::clone(&shared);
        let handler = Arc::new(move |request| {
            let shared = Arc::clone(&answering);
            Box::pin(async move { answer(&shared, &request).await }) as _
        });
        Ok(Self { shared, server: Server::start(address, tls, handler).await? })
    }

    /// Adds an instance, or replaces the one of its id.
    pub fn register(&self, service: &str, instance: ConsulInstance) {
        self.change(service, |instances| {
            instances.insert(instance.id.clone(), instance);
        });
    }

    /// Removes an instance, and with the last one the service.
    pub fn deregister(&self, service: &str, id: &str) {
        self.change(service, |instances| {
            instances.remove(id);
        });
    }

    /// A write that changes nothing but the index.
    pub fn touch(&self, service: &str) {
        self.change(service, |_| ());
    }

    fn change(&self, service: &str, change: impl FnOnce(&mut BTreeMap<String, ConsulInstance>)) {
        self.alter(|state| {
            state.index += 1;
            let instances = state.services.entry(service.to_owned()).or_default();
            change(instances);
            if instances.is_empty() {
                state.services.remove(service);
            }
            state.indexes.insert(service.to_owned(), state.index);
        });
    }

    /// A snapshot was restored: the index is this one, and queries that are held end.
    pub fn restore(&self, index: u64) {
        self.alter(|state| {
            state.index = index;
            state.indexes.values_mut().for_each(|of_service| *of_service = index);
            state.restored += 1;
        });
    }

    /// Everything is gone, and the index begins anew at 1: another cluster at the same address.
    pub fn wipe(&self) {
        self.alter(|state| {
            state.services.clear();
            state.indexes.clear();
            state.index = 1;
            state.restored += 1;
        });
    }

    /// What `x-consul-index` says: `Some(None)` leaves it out, `None` is the truth.
    pub fn say_index(&self, index: Option<Option<u64>>) {
        self.alter(|state| {
            state.said_index = index;
            state.restored += 1;
        });
    }

    /// The token that it wants from now on.
    pub fn demand_token(&self, token: Option<&str>) {
        self.alter(|state| {
            state.token = token.map(str::to_owned);
            state.restored += 1;
        });
    }

    /// Whether the token's policy leaves out everything.
    pub fn filter_everything(&self, filtered: bool) {
        self.alter(|state| {
            state.filtered = filtered;
            state.restored += 1;
        });
    }

    /// What it says of its leader.
    pub fn say_leader(&self, known: bool, last_contact: Duration) {
        self.alter(|state| {
            (state.known_leader, state.last_contact) = (known, last_contact);
            state.restored += 1;
        });
    }

    /// Queries that are held, waiting for a change.
    pub fn held(&self) -> usize {
        lock(&self.shared.0).held
    }

    fn alter(&self, alter: impl FnOnce(&mut State)) {
        alter(&mut lock(&self.shared.0));
        self.shared.1.send_replace(());
    }
}

async fn answer(shared: &Shared, request: &Request) -> Reply {
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let service = match segments[..] {
        ["v1", "catalog", "services"] => None,
        ["v1", "health", "service", service] => Some(service),
        _ => return Reply::text(404, "Invalid URL path: not found"),
    };
    let denied = |state: &State| state.token.as_deref().is_some_and(|token| request.token() != Some(token));
    let mut changed = shared.1.subscribe();
    let behind = request.value("index").and_then(|index| index.parse().ok()).unwrap_or(0);
    let restored = {
        let state = lock(&shared.0);
        if denied(&state) {
            return Reply::text(403, "ACL not found");
        }
        if request.value("dc").is_some_and(|dc| dc != "dc1") {
            return Reply::text(500, "No path to datacenter");
        }
        state.restored
    };
    let held = async {
        loop {
            changed.borrow_and_update();
            {
                let state = lock(&shared.0);
                if state.index_of(service) > behind || state.restored != restored {
                    return;
                }
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    };
    // Whatever ends it, the answer is the state of then.
    if behind > 0 {
        let _held = Held::new(shared);
        let _ = tokio::time::timeout(wait(request), held).await;
    }
    let state = lock(&shared.0);
    if denied(&state) { Reply::text(403, "ACL not found") } else { state.reply(service, request) }
}

/// Counts a query for as long as it is held, also when its connection ends.
struct Held<'a>(&'a Shared);

impl<'a> Held<'a> {
    fn new(shared: &'a Shared) -> Self {
        lock(&shared.0).held += 1;
        Self(shared)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        lock(&self.0.0).held -= 1;
    }
}

/// With the sixteenth that Consul adds.
fn wait(request: &Request) -> Duration {
    let stated = request.value("wait").and_then(parse_duration).unwrap_or(WAIT.0).min(WAIT.1);
    stated + (stated / 16).mul_f64(rand::rng().random_range(0.0..=1.0))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..end].parse().ok()?;
    match &text[end..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(60 * number)),
        _ => None,
    }
}

impl State {
    /// Of the last change of a service, or of any.
    fn index_of(&self, service: Option<&str>) -> u64 {
        match service {
            Some(service) => self.indexes.get(service).copied().unwrap_or(self.index),
            None => self.index,
        }
    }

    fn reply(&self, service: Option<&str>, request: &Request) -> Reply {
        let body = match service {
            None if self.filtered => json!({}),
            None => {
                let tags = |instances: &BTreeMap<String, ConsulInstance>| -> BTreeSet<String> {
                    instances.values().flat_map(|instance| instance.tags.clone()).collect()
                };
                json!(self.services.iter().map(|(name, all)| (name, tags(all))).collect::<BTreeMap<_, _>>())
            }
            Some(service) => {
                let passing = request.value("passing").is_some();
                let all = self.services.get(service).into_iter().flat_map(BTreeMap::values);
                let shown =
                    all.filter(|instance| !self.filtered && (!passing || instance.health == "passing"));
                shown.map(|instance| instance.json(service)).collect()
            }
        };
        let mut headers = vec![
            ("x-consul-knownleader", self.known_leader.to_string()),
            ("x-consul-lastcontact", self.last_contact.as_millis().to_string()),
        ];
        if let Some(index) = self.said_index.unwrap_or_else(|| Some(self.index_of(service))) {
            headers.push(("x-consul-index", index.to_string()));
        }
        if self.filtered {
            headers.push(("x-consul-results-filtered-by-acls", "true".to_owned()));
        }
        Reply::Whole { status: 200, headers, body: body.to_string().into_bytes() }
    }
}
