//! A double of a Kubernetes API server: lists and watches over `discovery.k8s.io/v1` endpoint slices.

use super::http::{Part, Reply, Request, Server, lock};
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Parts of a watch that wait for a reader.
const PARTS: usize = 64;

/// What an endpoint slice says, as far as tests differ in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceSpec {
    /// Its namespace.
    pub namespace: String,
    /// Its own name.
    pub name: String,
    /// Its service.
    pub service: String,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// Its port, by the name `grpc`.
    pub port: u16,
    /// Address and whether it is ready.
    pub endpoints: Vec<(String, bool)>,
}

impl SliceSpec {
    /// Of ready endpoints in the namespace `shop`.
    pub fn new(name: &str, service: &str, port: u16, addresses: &[&str]) -> Self {
        Self {
            namespace: "shop".into(),
            name: name.into(),
            service: service.into(),
            labels: BTreeMap::new(),
            port,
            endpoints: addresses.iter().map(|address| ((*address).to_owned(), true)).collect(),
        }
    }

    /// In another namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// With one label more.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// With one endpoint more, which is not ready.
    #[must_use]
    pub fn unready(mut self, address: &str) -> Self {
        self.endpoints.push((address.into(), false));
        self
    }

    fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.insert("kubernetes.io/service-name".into(), self.service.clone());
        labels
    }

    fn json(&self, version: u64) -> Value {
        let endpoint = |(address, ready): &(String, bool)| {
            json!({
                "addresses": [address], "nodeName": "node-1", "zone": "eu-west-2a",
                "conditions": {"ready": ready, "serving": ready, "terminating": !ready},
                "targetRef": {"kind": "Pod", "namespace": self.namespace, "name": format!("pod-{address}")},
            })
        };
        json!({
            "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
            "metadata": {"name": self.name, "namespace": self.namespace, "resourceVersion": version.to_string(),
                         "labels": self.all_labels()},
            "addressType": "IPv4",
            "endpoints": self.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
            "ports": [{"name": "grpc", "port": self.port, "protocol": "TCP"}],
        })
    }
}

/// One change.
#[derive(Debug, Clone)]
struct Change {
    version: u64,
    kind: &'static str,
    slice: SliceSpec,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    slices: BTreeMap<(String, String), (u64, SliceSpec)>,
    history: Vec<Change>,
    /// Changes up to this version are not kept any more.
    compacted: u64,
    /// Whether pages after the first are refused.
    pages_expire: bool,
    token: Option<String>,
    /// What running watches are sent beside changes: its number and what.
    extra: Vec<Extra>,
    watches: usize,
}

#[derive(Debug, Clone)]
enum Extra {
    Line(String),
    Raw(Vec<u8>),
    Cut,
    End,
}

type Shared = Arc<(Mutex<State>, watch::Sender<()>)>;

/// A double of an API server. Dropping it ends it.
#[derive(Debug)]
pub struct KubernetesDouble {
    shared: Shared,
    /// Its listener: stops, restarts, faults, and what was asked.
    pub server: Server,
}

impl KubernetesDouble {
    /// Without any slice, at version 100.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(address: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> Result<Self> {
        let state = State { version: 100, compacted: 100, ..State::default() };
        let shared: Shared = Arc::new((Mutex::new(state), watch::Sender::new(())));
        let answering = Arc::clone(&shared);
        let handler = Arc::new(move |request| {
            let shared = Arc::clone(&answering);
            Box::pin(async move { answer(&shared, &request) }) as _
        });
        Ok(Self { shared, server: Server::start(address, tls, handler).await? })
    }

    /// Adds a slice, or replaces the one of its name.
    pub fn apply(&self, slice: SliceSpec) {
        self.alter(|state| {
            state.version += 1;
            let key = (slice.namespace.clone(), slice.name.clone());
            let kind = if state.slices.contains_key(&key) { "MODIFIED" } else { "ADDED" };
            state.history.push(Change { version: state.version, kind, slice: slice.clone() });
            state.slices.insert(key, (state.version, slice));
        });
    }

    /// Removes a slice, if it is there.
    pub fn delete(&self, namespace: &str, name: &str) {
        self.alter(|state| {
            if let Some((_, slice)) = state.slices.remove(&(namespace.to_owned(), name.to_owned())) {
                state.version += 1;
                state.history.push(Change { version: state.version, kind: "DELETED", slice });
            }
        });
    }

    /// Forgets the history up to now. Whoever goes on from before is told that it has gone; with `tell`, running
    /// watches are as well.
    pub fn compact(&self, tell: bool) {
        self.alter(|state| {
            // Of another resource, so that a version of before is behind it.
            state.version += 1;
            state.compacted = state.version;
            state.history.clear();
            if tell {
                let status = status(410, "Expired", "too old resource version");
                state.extra.push(Extra::Line(json!({"type": "ERROR", "object": status}).to_string()));
                state.extra.push(Extra::End);
            }
        });
    }

    /// Tells running watches the version of now.
    pub fn bookmark(&self) {
        self.alter(|state| {
            // As if something had changed that they do not watch.
            state.version += 1;
            let metadata = json!({"resourceVersion": state.version.to_string(), "creationTimestamp": null});
            let object =
                json!({"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "metadata": metadata});
            state.extra.push(Extra::Line(json!({"type": "BOOKMARK", "object": object}).to_string()));
        });
    }

    /// Ends running watches with an event of this failure.
    pub fn fail_watches(&self, code: u16, reason: &str, message: &str) {
        let line = json!({"type": "ERROR", "object": status(code, reason, message)}).to_string();
        self.alter(|state| state.extra.extend([Extra::Line(line), Extra::End]));
    }

    /// Sends bytes to running watches, and with `cut` closes their connections behind them.
    pub fn send_raw(&self, bytes: &[u8], cut: bool) {
        self.alter(|state| {
            state.extra.push(Extra::Raw(bytes.to_vec()));
            state.extra.extend(cut.then_some(Extra::Cut));
        });
    }

    /// Ends running watches as their time does.
    pub fn end_watches(&self) {
        self.alter(|state| state.extra.push(Extra::End));
    }

    /// Whether pages after the first are refused as expired.
    pub fn expire_pages(&self, expire: bool) {
        self.alter(|state| state.pages_expire = expire);
    }

    /// The token that it wants from now on; running watches end.
    pub fn demand_token(&self, token: Option<&str>) {
        self.alter(|state| {
            state.token = token.map(str::to_owned);
            state.extra.push(Extra::End);
        });
    }

    /// Watches that are running.
    pub fn watches(&self) -> usize {
        lock(&self.shared.0).watches
    }

    fn alter(&self, alter: impl FnOnce(&mut State)) {
        alter(&mut lock(&self.shared.0));
        self.shared.1.send_replace(());
    }
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
           "message": message, "reason": reason, "code": code})
}

fn refuse(code: u16, reason: &str, message: &str) -> Reply {
    Reply::json(code, &status(code, reason, message))
}

/// What a request is about.
#[derive(Debug, Clone)]
struct Asked {
    /// None is all.
    namespace: Option<String>,
    selector: Vec<Requirement>,
}

/// One part of a label selector: the label, and the values that fit (`None`: any), or that do not.
#[derive(Debug, Clone)]
struct Requirement {
    label: String,
    values: Option<Vec<String>>,
    negated: bool,
}

impl Asked {
    fn shows(&self, slice: &SliceSpec) -> bool {
        let labels = slice.all_labels();
        let fits = |requirement: &Requirement| {
            let value = labels.get(&requirement.label);
            let listed = value
                .is_some_and(|value| requirement.values.as_ref().is_none_or(|values| values.contains(value)));
            listed != requirement.negated
        };
        self.namespace.as_ref().is_none_or(|namespace| *namespace == slice.namespace)
            && self.selector.iter().all(fits)
    }
}

fn answer(shared: &Shared, request: &Request) -> Reply {
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let namespace = match segments[..] {
        ["apis", "discovery.k8s.io", "v1", "endpointslices"] => None,
        ["apis", "discovery.k8s.io", "v1", "namespaces", namespace, "endpointslices"] => {
            Some(namespace.to_owned())
        }
        _ => return refuse(404, "NotFound", "the server could not find the requested resource"),
    };
    let Some(selector) = parse_selector(request.value("labelSelector").unwrap_or_default()) else {
        return refuse(400, "BadRequest", "unable to parse requirement");
    };
    let asked = Asked { namespace, selector };
    let state = lock(&shared.0);
    if state.token.as_deref().is_some_and(|token| request.token() != Some(token)) {
        return refuse(401, "Unauthorized", "Unauthorized");
    }
    if request.value("watch").is_none() {
        state.list(request, &asked)
    } else {
        watch(shared, &state, request, asked)
    }
}

impl State {
    fn list(&self, request: &Request, asked: &Asked) -> Reply {
        // A continue token: the version of the list and how many have been shown.
        let (version, from) = match request.value("continue") {
            None => (self.version, 0),
            Some(_) if self.pages_expire => {
                return refuse(410, "Expired", "The provided continue parameter is too old");
            }
            Some(token) => match token.split_once('.').map(|(a, b)| (a.parse(), b.parse())) {
                Some((Ok(version), Ok(from))) => (version, from),
                _ => return refuse(400, "BadRequest", "continue key is not valid"),
            },
        };
        let limit = request.value("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let shown: Vec<_> = self.slices.values().filter(|(_, slice)| asked.shows(slice)).collect();
        let page: Vec<_> =
            shown.iter().skip(from).take(limit).map(|(version, slice)| slice.json(*version)).collect();
        let behind = from + page.len();
        let next = if behind < shown.len() { format!("{version}.{behind}") } else { String::new() };
        Reply::json(
            200,
            &json!({"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
                    "metadata": {"resourceVersion": version.to_string(), "continue": next}, "items": page}),
        )
    }
}

fn watch(shared: &Shared, state: &State, request: &Request, asked: Asked) -> Reply {
    let Some(from) = request.value("resourceVersion").and_then(|version| version.parse::<u64>().ok()) else {
        return refuse(400, "BadRequest", "resourceVersion: invalid");
    };
    if from < state.compacted {
        return refuse(410, "Expired", "too old resource version");
    }
    if from > state.version {
        return refuse(504, "Timeout", "Too large resource version");
    }
    let seconds = request.value("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(1800);
    let (parts, stream) = mpsc::channel(PARTS);
    let (shared, extra) = (Arc::clone(shared), state.extra.len());
    tokio::spawn(async move {
        lock(&shared.0).watches += 1;
        let running = run(&shared, &asked, from, extra, &parts);
        tokio::select! {
            () = running => {}
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            () = parts.closed() => {}
        }
        lock(&shared.0).watches -= 1;
    });
    Reply::Stream(stream)
}

async fn run(shared: &Shared, asked: &Asked, mut from: u64, mut extra: usize, parts: &mpsc::Sender<Part>) {
    let mut changed = shared.1.subscribe();
    loop {
        changed.borrow_and_update();
        let (lines, extras) = {
            let state = lock(&shared.0);
            let new =
                state.history.iter().filter(|change| change.version > from && asked.shows(&change.slice));
            let lines: Vec<_> = new
                .map(|change| {
                    json!({"type": change.kind, "object": change.slice.json(change.version)}).to_string()
                })
                .collect();
            from = from.max(state.version);
            let extras = state.extra[extra..].to_vec();
            extra = state.extra.len();
            (lines, extras)
        };
        for extra in lines.into_iter().map(Extra::Line).chain(extras) {
            let part = match extra {
                Extra::Line(line) => Part::Bytes(format!("{line}\n").into_bytes()),
                Extra::Raw(bytes) => Part::Bytes(bytes),
                Extra::Cut => Part::Cut,
                Extra::End => return,
            };
            if parts.send(part).await.is_err() {
                return;
            }
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}

/// `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, joined by commas. **None**: none of these.
fn parse_selector(text: &str) -> Option<Vec<Requirement>> {
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for c in text.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if c == ',' && depth == 0 {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
    }
    parts.push(part);
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.map(parse_requirement).collect()
}

fn parse_requirement(text: &str) -> Option<Requirement> {
    let made = |label: &str, values: Option<Vec<String>>, negated| {
        let label = label.trim().to_owned();
        (!label.is_empty() && !label.contains([' ', '('])).then_some(Requirement { label, values, negated })
    };
    let one = |value: &str| Some(vec![value.trim().to_owned()]);
    let list = |text: &str| {
        let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect::<Vec<_>>())
    };
    if let Some((label, values)) = text.split_once(" notin ") {
        return made(label, Some(list(values)?), true);
    }
    if let Some((label, values)) = text.split_once(" in ") {
        return made(label, Some(list(values)?), false);
    }
    if let Some((label, value)) = text.split_once("!=") {
        return made(label, one(value), true);
    }
    if let Some((label, value)) = text.split_once('=') {
        return made(label, one(value.trim_start_matches('=')), false);
    }
    match text.strip_prefix('!') {
        Some(label) => made(label, None, true),
        None => made(text, None, false),
    }
}
