//! Asking over and over: each answer is waited for behind the index of the one before.

use super::answer::{Standing, next_index};
use crate::collect::discovery::http::{Answer, Http, Refusal, Target};
use crate::collect::discovery::pace::Pace;
use crate::collect::discovery::{Backoff, ParseError};
use crate::model::discovery::consul::ConsulPlan;
use crate::model::discovery::{LookupClass, LookupFailure};
use http::StatusCode;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long an answer may take for which nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses after failures, from the first to the longest. Many agents ask one server: half of the first would make
/// their return a burst, and twice the longest would keep a roster old for a minute after an outage.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A stale answer of a server that has not heard of its leader for so long is not taken for the state of the catalog.
const CONTACT_MOST: Duration = Duration::from_secs(30);

/// What all queries of one source share.
#[derive(Debug)]
pub(super) struct Queries {
    pub http: Http,
    pub plan: ConsulPlan,
    pub at_once: Semaphore,
}

/// One query without what changes from one time to the next.
#[derive(Debug)]
pub(super) struct Question {
    pub target: Target,
}

impl Question {
    pub fn catalog(plan: &ConsulPlan) -> Self {
        Self { target: common(Target::new("/v1/catalog/services", &[]), plan) }
    }

    pub fn service(plan: &ConsulPlan, name: &str) -> Self {
        let target = common(Target::new("/v1/health/service", &[name]), plan);
        // Tags are not part of it: Consul deprecates that parameter, and its successor has a syntax of its own.
        Self { target: if plan.passing_only { target.with("passing", "true") } else { target } }
    }

    /// **index**: behind which to wait; 0 does not wait.
    fn behind(&self, index: u64, wait: Duration) -> Target {
        if index == 0 {
            return self.target.clone();
        }
        let wait = format!("{}ms", wait.as_millis());
        self.target.clone().with("index", &index.to_string()).with("wait", &wait)
    }
}

fn common(mut target: Target, plan: &ConsulPlan) -> Target {
    for (name, value) in [("dc", &plan.datacenter), ("ns", &plan.namespace)] {
        if let Some(value) = value {
            target = target.with(name, value);
        }
    }
    if plan.stale { target.flag("stale") } else { target }
}

impl Queries {
    /// Asks for ever, and tells each answer and each failure.
    pub async fn ask<T, Telling: Future>(
        &self,
        question: &Question,
        parse: impl Fn(&[u8]) -> Result<T, ParseError>,
        mut tell: impl FnMut(Result<T, LookupFailure>) -> Telling,
    ) {
        let (mut pace, mut backoff) = (Pace::new(), Backoff::new(PAUSES.0, PAUSES.1));
        let mut index = 0;
        loop {
            pace.turn().await;
            match self.once(question, index, &parse).await {
                Ok((read, next)) => {
                    index = next;
                    backoff.reset();
                    tell(Ok(read)).await;
                }
                Err(Refusal { failure, retry_after }) => {
                    // Whoever answers next may have begun anew, and would hold a query behind an index that it will
                    // not reach for long: the next one does not wait.
                    index = 0;
                    tell(Err(failure)).await;
                    tokio::time::sleep(backoff.pause().max(retry_after.unwrap_or_default())).await;
                }
            }
        }
    }

    /// One answer, and the index to wait behind for the next.
    async fn once<T>(
        &self,
        question: &Question,
        index: u64,
        parse: &impl Fn(&[u8]) -> Result<T, ParseError>,
    ) -> Result<(T, u64), Refusal> {
        let target = question.behind(index, self.plan.wait);
        let answer = if index == 0 {
            // Never closed, so that an error cannot be.
            let _turn = self.at_once.acquire().await;
            self.http.get(&target, PATIENCE).await?
        } else {
            // Consul adds up to a sixteenth of the wait, so that not all queries end at once.
            let held = self.plan.wait + self.plan.wait / 16;
            // Another server may be at the address by now, to which the index means nothing.
            self.http.get_once(&target, held + PATIENCE).await?
        };
        if answer.status != StatusCode::OK {
            return Err(self.http.refusal(&target, &answer).await);
        }
        self.judge(&target, index, &answer, parse).map_err(Refusal::from)
    }

    fn judge<T>(
        &self,
        target: &Target,
        index: u64,
        answer: &Answer,
        parse: &impl Fn(&[u8]) -> Result<T, ParseError>,
    ) -> Result<(T, u64), LookupFailure> {
        let failure = |class, what: &str| Err(self.http.remote().failure(class, target, what));
        let standing = Standing::of(&answer.headers);
        let Some(answered) = standing.index else {
            let what = "no X-Consul-Index in the answer: is this Consul, or does a proxy drop headers";
            return failure(LookupClass::Malformed, what);
        };
        if !standing.known_leader {
            return failure(LookupClass::Refused, "the server knows no leader: what it says may be old");
        }
        if standing.last_contact > CONTACT_MOST {
            let what =
                format!("the server last heard of its leader {} s ago", standing.last_contact.as_secs());
            return failure(LookupClass::Refused, &what);
        }
        let read = match parse(&answer.body) {
            Ok(read) => read,
            Err(error) => return failure(LookupClass::Malformed, &error.to_string()),
        };
        // Consul tells nobody that they may not know: it leaves out what they may not.
        if standing.filtered && is_empty(&answer.body) {
            let what = "the token's policy filtered everything out: allow service:read and node:read";
            return failure(LookupClass::Denied, what);
        }
        Ok((read, next_index(index, answered)))
    }
}

/// Whether an answer has nobody in it.
fn is_empty(body: &[u8]) -> bool {
    matches!(body.trim_ascii(), b"[]" | b"{}" | b"null")
}
