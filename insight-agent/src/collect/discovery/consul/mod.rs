//! Consul: which instances its catalog has, learned by blocking queries.
//!
//! One query per service is held by the agent that is asked until something changes, and one more over the catalog's
//! services where none are listed. Source: Consul's documents "Blocking Queries", "Health HTTP Endpoint", "Catalog HTTP
//! Endpoint", "Consistency Modes".

mod answer;
mod query;

pub use answer::{Catalog, Instance, endpoints, parse_catalog, parse_health};

use super::assembly::{Assembly, Told, tell};
use super::http::{Http, Remote};
use super::{Outlet, Source, Watching};
use crate::model::discovery::consul::{CONSUL_SERVICES_MOST, ConsulPlan};
use crate::model::discovery::{Endpoint, Found, LookupClass, LookupFailure};
use query::{Queries, Question};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

/// What watches have told and the roster does not know yet; they wait beyond that.
const TOLD_MOST: usize = 16;
/// Queries at once that ask for an answer without waiting: at the start, and after Consul was away.
const AT_ONCE: usize = 8;
/// The catalog's key among those of services, none of which has an empty name.
const CATALOG: &str = "";

/// One Consul agent that is asked.
#[derive(Debug)]
pub struct ConsulSource {
    plan: ConsulPlan,
}

impl ConsulSource {
    /// Asks when it is watched.
    pub fn new(plan: ConsulPlan) -> Self {
        Self { plan }
    }
}

impl Source for ConsulSource {
    fn watch(self: Box<Self>, outlet: Outlet) -> Watching {
        Box::pin(Watch::new(self.plan).run(outlet))
    }
}

/// What the watches tell.
enum News {
    Catalog(Result<Catalog, LookupFailure>),
    Service(Told),
}

/// All watches of one source. Dropping it ends them.
struct Watch {
    queries: Arc<Queries>,
    tasks: JoinSet<()>,
    services: HashMap<String, AbortHandle>,
    assembly: Assembly,
    news: mpsc::Sender<News>,
    heard: mpsc::Receiver<News>,
}

impl Watch {
    fn new(plan: ConsulPlan) -> Self {
        let remote = Remote {
            kind: "consul",
            host: plan.host.clone(),
            port: plan.port,
            tls: plan.tls.clone(),
            token_file: plan.token_file.clone(),
        };
        let (news, heard) = mpsc::channel(TOLD_MOST);
        Self {
            queries: Arc::new(Queries { http: Http::new(remote), plan, at_once: Semaphore::new(AT_ONCE) }),
            tasks: JoinSet::new(),
            services: HashMap::new(),
            assembly: Assembly::default(),
            news,
            heard,
        }
    }

    async fn run(mut self, outlet: Outlet) {
        let listed = self.queries.plan.services.clone();
        if listed.is_empty() {
            self.assembly.want([CATALOG.to_owned()].into());
            let (queries, news) = (Arc::clone(&self.queries), self.news.clone());
            self.tasks.spawn(async move {
                let question = Question::catalog(&queries.plan);
                queries.ask(&question, parse_catalog, |told| news.send(News::Catalog(told))).await;
            });
        } else {
            let listed: BTreeSet<String> = listed.into_iter().collect();
            self.follow(&listed);
            self.assembly.want(listed);
        }
        // Never none: this end holds a sender.
        while let Some(news) = self.heard.recv().await {
            let all = self.learn(news);
            tell(&outlet, all).await;
        }
    }

    fn learn(&mut self, news: News) -> Vec<Found> {
        let now = Instant::now();
        let told = match news {
            News::Service(told) => told,
            News::Catalog(Ok(catalog)) => (CATALOG.to_owned(), self.take_up(catalog)),
            News::Catalog(Err(failure)) => (CATALOG.to_owned(), Err(failure)),
        };
        self.assembly.learn(told, now)
    }

    /// Watches the services of a catalog. Its own part of the roster is empty.
    fn take_up(&mut self, catalog: Catalog) -> Result<Vec<Endpoint>, LookupFailure> {
        let plan = &self.queries.plan;
        let matching = catalog.into_iter().filter(|(_, tags)| answer::may_match(tags, plan));
        let mut keys: BTreeSet<String> = matching.map(|(name, _)| name).collect();
        if keys.len() > CONSUL_SERVICES_MOST {
            let what = format!(
                "{} services, {CONSUL_SERVICES_MOST} are watched at most: list services, or demand tags",
                keys.len()
            );
            let target = Question::catalog(plan).target;
            return Err(self.queries.http.remote().failure(LookupClass::TooMany, &target, what));
        }
        self.follow(&keys);
        keys.insert(CATALOG.to_owned());
        self.assembly.want(keys);
        Ok(Vec::new())
    }

    /// Watches these services, and no other ones.
    fn follow(&mut self, services: &BTreeSet<String>) {
        self.services.retain(|name, watch| {
            let stays = services.contains(name);
            if !stays {
                watch.abort();
            }
            stays
        });
        for name in services {
            if self.services.contains_key(name) {
                continue;
            }
            let (queries, news, name) = (Arc::clone(&self.queries), self.news.clone(), name.clone());
            let key = name.clone();
            let watch = self.tasks.spawn(async move {
                let question = Question::service(&queries.plan, &name);
                let read = |body: &[u8]| Ok(endpoints(parse_health(body)?, &queries.plan));
                queries.ask(&question, read, |told| news.send(News::Service((name.clone(), told)))).await;
            });
            self.services.insert(key, watch);
        }
        // Ended ones are let go of.
        while self.tasks.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod properties;
