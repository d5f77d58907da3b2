//! Who is there to be probed: sources that each watch one registry.

mod assembly;
mod backoff;
pub mod consul;
pub mod dns;
pub mod file;
mod http;
mod json;
pub mod kubernetes;
mod pace;

pub use backoff::Backoff;
pub use json::ParseError;

use crate::model::discovery::{Endpoint, Found, LookupFailure, SourcePlan};
use std::future::Future;
use std::pin::Pin;
use tokio::sync::mpsc;

/// A source at work.
pub type Watching = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One registry, or one file, that is watched.
pub trait Source: Send + std::fmt::Debug {
    /// Tells the whole roster first, and again whenever it is another one, and every failure to learn it.
    /// Tells that it is unchanged each time that it has learnt that: the roster's age is counted from there,
    /// and a roster that is told again and is the same says so too. Goes on in spite of failures, with growing
    /// pauses, and never ends by itself. Dropping the future ends it and closes its connections. Nothing in
    /// it blocks.
    fn watch(self: Box<Self>, outlet: Outlet) -> Watching;
}

/// The source of a plan.
pub fn source(plan: &SourcePlan) -> Box<dyn Source> {
    match plan {
        SourcePlan::File(plan) => Box::new(file::FileSource::new(plan.clone())),
        SourcePlan::Dns(plan) => Box::new(dns::DnsSource::new(plan.clone())),
        SourcePlan::Consul(plan) => Box::new(consul::ConsulSource::new(plan.clone())),
        SourcePlan::Kubernetes(plan) => Box::new(kubernetes::KubernetesSource::new(plan.clone())),
    }
}

/// Where a source tells what it has found.
#[derive(Debug, Clone)]
pub struct Outlet {
    source: usize,
    to: mpsc::Sender<(usize, Found)>,
}

impl Outlet {
    /// **source**: the number that comes along with all it tells.
    pub fn new(source: usize, to: mpsc::Sender<(usize, Found)>) -> Self {
        Self { source, to }
    }

    /// Everyone who is there.
    pub async fn roster(&self, endpoints: Vec<Endpoint>) {
        self.tell(Found::roster(endpoints)).await;
    }

    /// What was told last has been learnt again.
    pub async fn unchanged(&self) {
        self.tell(Found::Unchanged).await;
    }

    /// Nobody knows at present.
    pub async fn failed(&self, failure: LookupFailure) {
        self.tell(Found::Failed(failure)).await;
    }

    async fn tell(&self, found: Found) {
        // An error means that the agent stops.
        let _ = self.to.send((self.source, found)).await;
    }
}
