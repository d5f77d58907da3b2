//! Endpoints out of the DNS: addresses of names, or their services.
//!
//! Each name and type of record is asked for by itself, again when its answer's TTL has passed, so that a
//! slow one holds up no other. *Nobody is there* is an answer: an unknown name (NXDOMAIN), and a name without
//! such records. *Nobody knows* is none: SERVFAIL, REFUSED and silence keep what was known.

mod ask;

use super::{Backoff, Outlet, Source, Watching};
use crate::model::discovery::{DnsPlan, DnsRecord, Endpoint, LookupFailure};
use ask::{Answer, Asker};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// First pause after a question that failed, and longest: a server that is restarted is back within seconds,
/// and one that is down for a day shall not be asked each second by every agent.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(30);

/// Names that are looked up.
#[derive(Debug)]
pub struct DnsSource {
    plan: DnsPlan,
}

impl DnsSource {
    /// **plan**: which, and how.
    pub fn new(plan: DnsPlan) -> Self {
        Self { plan }
    }
}

impl Source for DnsSource {
    fn watch(self: Box<Self>, outlet: Outlet) -> Watching {
        Box::pin(watch(self.plan, outlet))
    }
}

/// What is known of one question.
#[derive(Debug, Default, Clone)]
struct Known {
    /// What the last answer told. **None**: none has come yet.
    endpoints: Option<Vec<Endpoint>>,
    /// Why the last try brought none.
    failure: Option<LookupFailure>,
}

impl Known {
    fn has_been_tried(&self) -> bool {
        self.endpoints.is_some() || self.failure.is_some()
    }
}

type Told = (usize, Result<Vec<Endpoint>, LookupFailure>);

async fn watch(plan: DnsPlan, outlet: Outlet) {
    let questions: Vec<_> =
        plan.names.iter().flat_map(|name| plan.records.iter().map(move |record| (name, *record))).collect();
    let mut known = vec![Known::default(); questions.len()];
    // Room for every question: none waits for another one's answer to be taken.
    let (tell, mut told) = mpsc::channel(questions.len().max(1));
    // Aborted when this future is dropped.
    let mut asking = JoinSet::new();
    for (index, (name, record)) in questions.into_iter().enumerate() {
        asking.spawn(repeat(index, plan.clone(), name.clone(), record, tell.clone()));
    }
    let mut last: Option<Vec<Endpoint>> = None;
    while let Some((index, result)) = told.recv().await {
        match result {
            Ok(endpoints) => known[index] = Known { endpoints: Some(endpoints), failure: None },
            Err(failure) => known[index].failure = Some(failure),
        }
        // The first roster is whole, as far as it can be.
        if known.iter().all(Known::has_been_tried) {
            tell_all(&known, &mut last, &outlet).await;
        }
    }
}

async fn tell_all(known: &[Known], last: &mut Option<Vec<Endpoint>>, outlet: &Outlet) {
    let failures: Vec<_> = known.iter().filter_map(|known| known.failure.clone()).collect();
    if known.iter().any(|known| known.endpoints.is_some()) {
        let roster: Vec<_> = known.iter().filter_map(|known| known.endpoints.clone()).flatten().collect();
        if last.as_ref() != Some(&roster) {
            outlet.roster(roster.clone()).await;
            *last = Some(roster);
        } else if failures.is_empty() {
            outlet.unchanged().await;
        }
    }
    let more = failures.len().saturating_sub(1);
    if let Some(mut failure) = failures.into_iter().next() {
        if more > 0 {
            failure.detail.push_str(&format!(" (and {more} more)"));
        }
        outlet.failed(failure).await;
    }
}

/// Asks one question again and again; ends when nobody listens.
async fn repeat(index: usize, plan: DnsPlan, name: String, record: DnsRecord, tell: mpsc::Sender<Told>) {
    let mut backoff = Backoff::new(PAUSE_FIRST.max(plan.min_ttl), PAUSE_MOST.max(plan.min_ttl));
    let mut asker: Option<Asker> = None;
    loop {
        let ready = match asker.take() {
            Some(asker) => Ok(asker),
            None => Asker::new(&plan).await,
        };
        let result = match ready {
            Ok(ready) => {
                let result = ready.ask(&name, record).await;
                // After a failure with new sockets, and what the system says of servers by then.
                asker = result.is_ok().then_some(ready);
                result
            }
            Err(failure) => Err(failure),
        };
        let (result, pause) = match result {
            Ok(Answer { endpoints, ttl }) => {
                backoff.reset();
                (Ok(endpoints), ttl.clamp(plan.min_ttl, plan.max_ttl))
            }
            Err(failure) => (Err(failure), backoff.pause()),
        };
        if tell.send((index, result)).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}
