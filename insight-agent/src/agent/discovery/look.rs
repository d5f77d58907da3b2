//! One look at every discovery, for a person at a terminal.

use crate::collect::discovery::{Outlet, source};
use crate::config::{Config, Expanded, Rosters};
use crate::model::discovery::{Endpoint, Found, LookupClass, LookupFailure};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What one discovery said first.
#[derive(Debug, Clone)]
pub struct Looked {
    /// Its name.
    pub name: String,
    /// The kind of its source.
    pub kind: &'static str,
    /// Who is there. **None**: it does not know.
    pub endpoints: Option<Arc<Vec<Endpoint>>>,
    /// Why it does not know of all.
    pub failure: Option<LookupFailure>,
}

/// Asks each discovery of a configuration once, all at the same time, and makes of it what an agent would.
/// Nothing is probed. In the order of the file.
pub async fn look(config: &Config, patience: Duration) -> (Vec<Looked>, Expanded) {
    let mut looks: Vec<_> = config
        .discoveries
        .iter()
        .map(|plan| Looked {
            name: plan.name.clone(),
            kind: plan.source.kind(),
            endpoints: None,
            failure: None,
        })
        .collect();
    let (outlet, mut told) = mpsc::channel(looks.len().max(1));
    let mut sources = JoinSet::new();
    for (number, plan) in config.discoveries.iter().enumerate() {
        sources.spawn(source(&plan.source).watch(Outlet::new(number, outlet.clone())));
    }
    let all = async {
        while looks.iter().any(|look| look.endpoints.is_none() && look.failure.is_none()) {
            let Some((number, found)) = told.recv().await else { return };
            take(&mut looks[number], found);
        }
        // A source that knows of a part tells of that first, and of what it lacks right behind it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        while let Ok((number, found)) = told.try_recv() {
            take(&mut looks[number], found);
        }
    };
    let in_time = tokio::time::timeout(patience, all).await.is_ok();
    for look in looks.iter_mut().filter(|look| !in_time && look.endpoints.is_none() && look.failure.is_none())
    {
        let detail = format!("it has said nothing within {patience:?}");
        look.failure = Some(LookupFailure { class: LookupClass::Timeout, detail });
    }
    let rosters: Rosters =
        looks.iter().filter_map(|look| Some((look.name.clone(), look.endpoints.clone()?))).collect();
    let expanded = config.expand(&rosters);
    (looks, expanded)
}

fn take(look: &mut Looked, found: Found) {
    match found {
        Found::Roster(endpoints) => look.endpoints = Some(Arc::new(endpoints)),
        Found::Unchanged => {}
        Found::Failed(failure) => look.failure = Some(failure),
    }
}
