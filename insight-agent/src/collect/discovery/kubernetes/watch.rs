//! One watch: a list, then its changes, from cut to cut and from list to list.

use super::answer::{Event, SERVICE_LABEL, Status, parse_event, parse_page, parse_status};
use super::slices::Slices;
use crate::collect::discovery::Backoff;
use crate::collect::discovery::assembly::Told;
use crate::collect::discovery::http::{Answer, Http, Lines, Next, Refusal, Target};
use crate::collect::discovery::pace::Pace;
use crate::model::discovery::kubernetes::KubernetesPlan;
use crate::model::discovery::{ENDPOINTS_MOST, Endpoint, LookupClass, LookupFailure};
use http::StatusCode;
use rand::Rng;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long a page of a list, or the head of a watch, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Slices of one page: of 100 endpoints each, as the control plane fills them, below 8 MiB.
const PAGE: &str = "250";
/// How long the server is asked to go on with a watch, drawn from this range in seconds so that watches do not all
/// end at once. Shorter ones cost reconnects; longer ones keep to one API server after others have come back.
const WATCH_SECONDS: std::ops::RangeInclusive<u64> = 300..=600;
/// A server that goes on beyond the time that it was asked for by more than this has forgotten the watch.
const OVERTIME: Duration = Duration::from_secs(30);
/// Changes are told together when no further one came for so long.
const QUIET: Duration = Duration::from_millis(50);
/// And at the latest so long after the first of them.
const LATEST: Duration = Duration::from_millis(250);
/// Pauses after failures, from the first to the longest: as Consul's.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A watch that lasted so long did work, and what cut it is no reason to wait. Half of it would let a server that
/// ends all watches be asked for its whole list twice a second; twice as much would leave rosters behind after a flap.
const LASTED: Duration = Duration::from_secs(1);
/// Most slices of one watch: with more of them there are more endpoints than are kept, unless most are empty.
const SLICES_MOST: usize = ENDPOINTS_MOST;

/// The slices of one namespace, or of all.
#[derive(Debug)]
pub(super) struct Watch {
    http: Arc<Http>,
    plan: Arc<KubernetesPlan>,
    /// Empty is all.
    namespace: String,
    slices: Slices,
    /// Where to go on. **None**: a list must come first.
    version: Option<String>,
    /// Whether something is known that was not told.
    untold: bool,
    /// Whether the last that was told was a failure.
    failing: bool,
    /// Whether the last watch was one for [`LASTED`].
    lasted: bool,
}

/// How a watch ended.
enum End {
    /// As agreed, or cut: what was known counts, and the next one goes on from there.
    Resume,
    /// What is known cannot be trusted to be whole.
    Relist(Option<Refusal>),
}

impl Watch {
    pub fn new(http: Arc<Http>, plan: Arc<KubernetesPlan>, namespace: String) -> Self {
        let slices = Slices::default();
        Self { http, plan, namespace, slices, version: None, untold: false, failing: false, lasted: false }
    }

    /// Goes on for ever.
    pub async fn run(mut self, told: mpsc::Sender<Told>) {
        let (mut pace, mut backoff) = (Pace::new(), Backoff::new(PAUSES.0, PAUSES.1));
        loop {
            pace.turn().await;
            let ended = self.round(&told).await;
            if std::mem::take(&mut self.lasted) {
                backoff.reset();
                if ended.is_ok() {
                    continue;
                }
            }
            let mut pause = backoff.pause();
            // A server that ends every watch at once is asked like one that fails, but it does not fail.
            if let Err(Refusal { failure, retry_after }) = ended {
                self.tell(&told, Err(failure)).await;
                pause = pause.max(retry_after.unwrap_or_default());
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// A list if one is needed, then a watch until its end.
    async fn round(&mut self, told: &mpsc::Sender<Told>) -> Result<(), Refusal> {
        let version = match self.version.take() {
            Some(version) => version,
            None => {
                let version = self.list().await?;
                self.tell_known(told).await;
                version
            }
        };
        // Kept for a next try, unless the watch finds that it must not be.
        self.version = Some(version.clone());
        let seconds = rand::rng().random_range(WATCH_SECONDS);
        let target = self
            .target()
            .with("watch", "true")
            .with("allowWatchBookmarks", "true")
            .with("resourceVersion", &version)
            .with("timeoutSeconds", &seconds.to_string());
        let lines = match self.http.follow(&target, PATIENCE).await? {
            Ok(lines) => lines,
            Err(answer) => {
                self.version = None;
                return self.refused(&target, &answer).await;
            }
        };
        if self.failing {
            self.untold = true;
        }
        let began = Instant::now();
        let until = began + Duration::from_secs(seconds) + OVERTIME;
        let end = self.follow(&target, lines, until, told).await;
        self.lasted = began.elapsed() >= LASTED;
        self.tell_known(told).await;
        match end {
            End::Resume => Ok(()),
            End::Relist(refusal) => {
                self.version = None;
                refusal.map_or(Ok(()), Err)
            }
        }
    }

    /// A list from its first page to its last, which then is all that is known.
    async fn list(&mut self) -> Result<String, Refusal> {
        let (mut slices, mut paged, mut next) = (Slices::default(), true, None::<String>);
        loop {
            let mut target = self.target();
            if paged {
                target = target.with("limit", PAGE);
            }
            if let Some(next) = &next {
                target = target.with("continue", next);
            }
            let answer = self.http.get(&target, PATIENCE).await?;
            if answer.status != StatusCode::OK {
                // The pages' state is not kept any more: once more, in one piece.
                if next.is_some() && is_gone(&answer) {
                    (slices, paged, next) = (Slices::default(), false, None);
                    continue;
                }
                return Err(self.http.refusal(&target, &answer).await);
            }
            let page = parse_page(&answer.body).map_err(|error| self.malformed(&target, &error))?;
            for slice in page.slices {
                slices.apply(slice);
            }
            if slices.len() > SLICES_MOST {
                let what =
                    format!("more than {SLICES_MOST} endpoint slices: name namespaces, services or labels");
                return Err(self.http.remote().failure(LookupClass::TooMany, &target, what).into());
            }
            match page.next {
                // A server that continues with what it was asked with would never end.
                Some(again) if next.as_ref() == Some(&again) => {
                    let what = "the list continues with the same page";
                    return Err(self.http.remote().failure(LookupClass::Malformed, &target, what).into());
                }
                Some(more) => next = Some(more),
                None => {
                    self.slices = slices;
                    self.untold = true;
                    return Ok(page.version);
                }
            }
        }
    }

    /// Takes up changes until the watch ends.
    async fn follow(
        &mut self,
        target: &Target,
        mut lines: Lines,
        until: Instant,
        told: &mpsc::Sender<Told>,
    ) -> End {
        let mut latest = Instant::now() + LATEST;
        loop {
            let wake = if self.untold { (Instant::now() + QUIET).min(latest) } else { until };
            let Ok(next) = tokio::time::timeout_at(wake.min(until), lines.next()).await else {
                if Instant::now() >= until {
                    return End::Resume;
                }
                self.tell_known(told).await;
                continue;
            };
            let line = match next {
                Next::Line(line) => line,
                Next::End | Next::Cut => return End::Resume,
                Next::TooLong => {
                    let what = "an event is longer than is read";
                    return End::Relist(Some(
                        self.http.remote().failure(LookupClass::TooMany, target, what).into(),
                    ));
                }
            };
            if !self.untold {
                latest = Instant::now() + LATEST;
            }
            match parse_event(&line) {
                Ok(Event::Applied(slice)) => {
                    self.note_version(&slice.metadata.resource_version);
                    self.slices.apply(*slice);
                    if self.slices.len() > SLICES_MOST {
                        // The list says so.
                        return End::Relist(None);
                    }
                    self.untold = true;
                }
                Ok(Event::Deleted(slice)) => {
                    self.note_version(&slice.metadata.resource_version);
                    self.slices.delete(&slice);
                    self.untold = true;
                }
                Ok(Event::Bookmark { version }) => {
                    self.note_version(&version);
                    // Nothing has changed, which is news of the roster's age.
                    self.untold = true;
                }
                Ok(Event::Error(status)) if status.is_gone() => return End::Relist(None),
                Ok(Event::Error(status)) => return End::Relist(Some(self.failed(target, &status))),
                Err(error) => return End::Relist(Some(self.malformed(target, &error).into())),
            }
        }
    }

    fn note_version(&mut self, version: &str) {
        if !version.is_empty() {
            self.version = Some(version.to_owned());
        }
    }

    /// An answer to a watch other than 200.
    async fn refused(&self, target: &Target, answer: &Answer) -> Result<(), Refusal> {
        if is_gone(answer) { Ok(()) } else { Err(self.http.refusal(target, answer).await) }
    }

    /// An event that ends the watch.
    fn failed(&self, target: &Target, status: &Status) -> Refusal {
        let class = if matches!(status.code, 401 | 403) { LookupClass::Denied } else { LookupClass::Refused };
        let message: String = status.message.chars().filter(|c| !c.is_control()).take(200).collect();
        let what = format!("the watch ended: {} {}: {message}", status.code, status.reason);
        self.http.remote().failure(class, target, what).into()
    }

    fn malformed(&self, target: &Target, error: &dyn std::error::Error) -> LookupFailure {
        self.http.remote().failure(LookupClass::Malformed, target, error)
    }

    async fn tell_known(&mut self, told: &mpsc::Sender<Told>) {
        if self.untold {
            let endpoints = self.slices.endpoints(&self.plan);
            self.tell(told, Ok(endpoints)).await;
        }
    }

    async fn tell(&mut self, told: &mpsc::Sender<Told>, what: Result<Vec<Endpoint>, LookupFailure>) {
        self.failing = what.is_err();
        self.untold &= self.failing;
        // An error means that the source ends.
        let _ = told.send((self.namespace.clone(), what)).await;
    }

    /// What lists and watches have in common.
    fn target(&self) -> Target {
        let target = match self.namespace.as_str() {
            "" => Target::new("/apis/discovery.k8s.io/v1/endpointslices", &[]),
            namespace => Target::new("/apis/discovery.k8s.io/v1/namespaces", &[namespace, "endpointslices"]),
        };
        match selector(&self.plan) {
            Some(selector) => target.with("labelSelector", &selector),
            None => target,
        }
    }
}

/// Whether an answer says that a state is not kept any more.
fn is_gone(answer: &Answer) -> bool {
    answer.status == StatusCode::GONE || parse_status(&answer.body).is_gone()
}

/// The label selector that names the plan's services and labels.
pub(super) fn selector(plan: &KubernetesPlan) -> Option<String> {
    let services = match plan.services.as_slice() {
        [] => None,
        [one] => Some(format!("{SERVICE_LABEL}={one}")),
        several => Some(format!("{SERVICE_LABEL} in ({})", several.join(","))),
    };
    match (services, &plan.label_selector) {
        (Some(services), Some(labels)) => Some(format!("{services},{labels}")),
        (services, labels) => services.or_else(|| labels.clone()),
    }
}
