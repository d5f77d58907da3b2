//! Kubernetes: which endpoints services have, learned by watching their endpoint slices.
//!
//! One watch per namespace, or one over all: a list in pages, then its changes as they come. The few structures that
//! are read are written out here: a client library would bring the whole API, its own TLS and HTTP stack, and a cache
//! that does not know what to leave out.

mod answer;
mod slices;
mod watch;

pub use answer::{Event, Page, Slice, Status, parse_event, parse_page};
pub use slices::Slices;

use super::assembly::{Assembly, tell};
use super::http::{Http, Remote};
use super::{Outlet, Source, Watching};
use crate::model::discovery::kubernetes::KubernetesPlan;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use watch::Watch;

/// What watches have told and the roster does not know yet; they wait beyond that.
const TOLD_MOST: usize = 16;

/// One cluster that is watched.
#[derive(Debug)]
pub struct KubernetesSource {
    plan: KubernetesPlan,
}

impl KubernetesSource {
    /// Asks when it is watched.
    pub fn new(plan: KubernetesPlan) -> Self {
        Self { plan }
    }
}

impl Source for KubernetesSource {
    fn watch(self: Box<Self>, outlet: Outlet) -> Watching {
        Box::pin(run(self.plan, outlet))
    }
}

async fn run(plan: KubernetesPlan, outlet: Outlet) {
    let remote = Remote {
        kind: "kubernetes",
        host: plan.host.clone(),
        port: plan.port,
        tls: plan.tls.clone(),
        token_file: plan.token_file.clone(),
    };
    let (http, plan) = (Arc::new(Http::new(remote)), Arc::new(plan));
    // The empty name is all of them.
    let namespaces: BTreeSet<String> = match plan.namespaces.as_slice() {
        [] => [String::new()].into(),
        listed => listed.iter().cloned().collect(),
    };
    let (told, mut heard) = mpsc::channel(TOLD_MOST);
    // Ends with this future.
    let mut watches = JoinSet::new();
    for namespace in &namespaces {
        let watch = Watch::new(Arc::clone(&http), Arc::clone(&plan), namespace.clone());
        watches.spawn(watch.run(told.clone()));
    }
    let mut assembly = Assembly::default();
    assembly.want(namespaces);
    // Never none: this end holds a sender.
    while let Some(news) = heard.recv().await {
        let all = assembly.learn(news, Instant::now());
        tell(&outlet, all).await;
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
