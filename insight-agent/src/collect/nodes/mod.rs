//! Asks the agents on the hops of this region for their reports, and the receivers of other
//! regions, along the forwarding path, for those of theirs.
//!
//! One task and one connection per agent that is asked, both apart from every probe: a question for
//! a report is never part of anything that is timed.

mod ask;
mod connect;
mod region;
#[cfg(test)]
mod tests;

use crate::collect::tls::TlsError;
use crate::model::plan::TlsPlan;
use crate::model::region::{NodeEvent, PollFailure};
use crate::secret::Bearer;
use ask::Asker;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::MissedTickBehavior;

/// Longest that one question may take, however long the period: a report that is older than this
/// when it comes says little about when it was taken.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// The agent on a node of this region.
    Node {
        /// This agent's region.
        region: String,
        /// The node's configured name.
        node: String,
    },
    /// The receiver of another region, for all nodes there.
    Region {
        /// That region.
        region: String,
    },
}

/// Who is asked, where, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Who.
    pub place: Place,
    /// Name or IP of the agent, or of the route's first hop.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The HTTP/2 `:authority`.
    pub authority: String,
    /// What tells the forwarding layer the way; names are lower case.
    pub metadata: Vec<(String, String)>,
    /// **None**: plaintext HTTP/2 with prior knowledge.
    pub tls: Option<TlsPlan>,
    /// The token that is presented. **None**: none is.
    pub token: Option<Bearer>,
}

/// A target cannot be asked as configured.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Its TLS files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its address, authority or metadata.
    #[error("{target}: {what}: correct the address, the authority and the metadata")]
    Address {
        /// Who was to be asked.
        target: String,
        /// What is wrong.
        what: String,
    },
}

/// What comes of an answer.
#[derive(Debug, Clone)]
pub struct Outlet {
    /// Where events go. What does not fit is dropped and counted: asking waits for nobody.
    pub events: mpsc::Sender<NodeEvent>,
    /// Counts a dropped event.
    pub lost: Lost,
}

/// Counts one loss.
#[derive(Clone)]
pub struct Lost(pub Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Lost {
    /// Closures have no text of their own.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lost")
    }
}

impl Outlet {
    /// Whether anybody listens still.
    fn put(&self, event: NodeEvent) -> bool {
        match self.events.try_send(event) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                (self.lost.0)();
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

/// A target that can be asked: its files are read, nothing is connected yet.
#[derive(Debug)]
pub struct Poller {
    place: Place,
    asker: Asker,
    period: Duration,
}

impl Poller {
    /// Reads what the target names. Blocking: a few small files. Call it within a runtime.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn new(target: Target, period: Duration) -> Result<Self, TargetError> {
        let place = target.place.clone();
        Ok(Self { place, asker: Asker::new(target, period.min(PATIENCE))?, period })
    }

    /// Asks once a period, at once for the first time, until nobody listens any more.
    ///
    /// Cancelling closes the connection; nothing else is lost.
    pub async fn run(mut self, outlet: Outlet) {
        let mut turns = tokio::time::interval(self.period);
        // A question that took long is followed by a pause, not by a burst.
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = None;
        loop {
            turns.tick().await;
            let events = match &self.place {
                Place::Node { region, node } => {
                    vec![self.asker.report(region.clone(), node.clone()).await]
                }
                Place::Region { region } => self.asker.region_report(region.clone()).await,
            };
            note_change(&mut failing, self.failure_among(&events));
            for event in events {
                if !outlet.put(event) {
                    return;
                }
            }
        }
    }

    /// What this question failed with. **None**: it was answered. Nodes that the receiver of their
    /// own region cannot reach are that one's to log.
    fn failure_among<'a>(&self, events: &'a [NodeEvent]) -> Option<&'a PollFailure> {
        match (&self.place, events.first()?) {
            (_, NodeEvent::RegionFailed { failure, .. }) => Some(failure),
            (Place::Node { .. }, NodeEvent::Failed { failure, .. }) => Some(failure),
            _ => None,
        }
    }
}

/// Logs when asking begins to fail, fails otherwise than before, or works again.
fn note_change(failing: &mut Option<PollFailure>, failure: Option<&PollFailure>) {
    match failure {
        Some(failure) => {
            if failing.as_ref().map(|before| &before.status) != Some(&failure.status) {
                tracing::warn!(status = failure.status, "{}", failure.detail);
                *failing = Some(failure.clone());
            }
        }
        None => {
            if let Some(before) = failing.take() {
                tracing::info!(status = before.status, "reports come again after: {}", before.detail);
            }
        }
    }
}

/// The middle of a poll at the other end, as this host's clock has it, and half of what it took.
fn moved_back(
    asked: Instant,
    answered: Instant,
    age: Duration,
    slack: Duration,
) -> Option<(Instant, Instant)> {
    let asked = asked.checked_sub(age)?.checked_sub(slack)?;
    let answered = answered.checked_sub(age)?.checked_add(slack)?;
    Some((asked, answered))
}
