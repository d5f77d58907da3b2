//! What `/api/v1/status` shows: the last window beside the totals.

use crate::correlate::measurements::measurement_states;
use crate::correlate::totals::Totals;
use crate::model::burst::Burst;
use crate::model::certificate::{Certificates, TlsFilesStatus};
use crate::model::health::HealthEvent;
use crate::model::plan::{Connection, ProbePlan};
use crate::model::sample::ProbeSample;
use crate::model::status::{
    AgentStatus, DiscoveryStatus, ForwarderStatus, LedgerStatus, LossStatus, MeasurementStatus, PathStatus,
    SegmentStatus, Status,
};
use crate::model::window::{LedgerWindow, SegmentWindow, Window};
use crate::publish::metrics::AgentLabels;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The board that the correlator writes on and the status page is read from.
pub(super) struct Board {
    labels: AgentLabels,
    window: Duration,
    listeners: BTreeMap<String, String>,
    started: Instant,
    shown: Mutex<Shown>,
}

struct Shown {
    probing: bool,
    totals: Totals,
    window: Option<Arc<Window>>,
    measurements: Vec<MeasurementStatus>,
}

impl Board {
    pub(super) fn new(
        labels: AgentLabels,
        window: Duration,
        listeners: BTreeMap<String, String>,
        probing: bool,
    ) -> Self {
        let measurements = measurement_states(&labels.name, None, probing);
        let shown = Shown { probing, totals: Totals::default(), window: None, measurements };
        Self { labels, window, listeners, started: Instant::now(), shown: Mutex::new(shown) }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        // Every writer leaves the board whole between two statements that cannot panic.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn node(&self) -> &str {
        &self.labels.name
    }

    pub(super) fn is_probing(&self) -> bool {
        self.shown().probing
    }

    /// Takes other plans from now on: what is shown of all others is gone. Gives what is left of the last
    /// window.
    pub(super) fn set_plans(&self, plans: &[Arc<ProbePlan>]) -> Option<Arc<Window>> {
        let mut shown = self.shown();
        shown.probing = !plans.is_empty();
        shown.totals.set_plans(plans);
        shown.window = shown.window.take().map(|window| Arc::new(window.narrowed(plans)));
        shown.window.clone()
    }

    /// Replaces the measurements' states.
    pub(super) fn show_states(&self, measurements: Vec<MeasurementStatus>) {
        self.shown().measurements = measurements;
    }

    pub(super) fn record(&self, sample: &ProbeSample) {
        self.shown().totals.record(sample);
    }

    pub(super) fn skip(&self, plan: &Arc<ProbePlan>, connection: Connection) {
        self.shown().totals.skip(plan, connection);
    }

    pub(super) fn certificates(&self, plan: &Arc<ProbePlan>, certificates: Certificates) {
        self.shown().totals.certificates(plan, certificates);
    }

    pub(super) fn burst(&self, plan: &Arc<ProbePlan>, burst: Burst) {
        self.shown().totals.burst(plan, burst);
    }

    pub(super) fn health(&self, plan: &Arc<ProbePlan>, event: &HealthEvent) {
        self.shown().totals.health(plan, event, Instant::now());
    }

    pub(super) fn show(&self, window: Arc<Window>, measurements: Vec<MeasurementStatus>) {
        let mut shown = self.shown();
        shown.window = Some(window);
        shown.measurements = measurements;
    }

    /// The whole answer, as of `now`.
    pub(super) fn status(
        &self,
        lost: Vec<LossStatus>,
        tls_files: Vec<TlsFilesStatus>,
        forwarders: Vec<ForwarderStatus>,
        discovery: Vec<DiscoveryStatus>,
        now: Instant,
    ) -> Status {
        let shown = self.shown();
        let window = shown.window.as_deref();
        Status {
            agent: AgentStatus {
                name: self.labels.name.clone(),
                region: self.labels.region.clone(),
                version: self.labels.version.clone(),
                uptime_seconds: now.saturating_duration_since(self.started).as_secs_f64(),
                window_seconds: self.window.as_secs_f64(),
                listeners: self.listeners.clone(),
            },
            paths: window.map(|window| paths(window, now)).unwrap_or_default(),
            probes: window
                .map(|window| window.probes.iter().map(|probe| shown.totals.status(probe, now)).collect())
                .unwrap_or_default(),
            forwarders,
            discovery,
            tls_files,
            measurements: shown.measurements.clone(),
            lost,
        }
    }
}

fn paths(window: &Window, now: Instant) -> Vec<PathStatus> {
    let age_seconds = now.saturating_duration_since(window.ended).as_secs_f64();
    window
        .paths
        .iter()
        .map(|path| PathStatus {
            source: path.source.clone(),
            target: path.target.clone(),
            cross_region_latency_ms: path.cross_region_latency.map(|latency| latency.as_secs_f64() * 1e3),
            ledgers: path.ledgers.iter().map(|ledger| ledger_status(ledger, age_seconds)).collect(),
        })
        .collect()
}

fn ledger_status(ledger: &LedgerWindow, age_seconds: f64) -> LedgerStatus {
    LedgerStatus {
        kind: ledger.kind,
        probe: ledger.probe.clone(),
        end_to_end_seconds: ledger.end_to_end,
        count: ledger.count,
        other_shape: ledger.other_shape,
        age_seconds,
        segments: ledger.segments.iter().map(|segment| segment_status(segment, age_seconds)).collect(),
        unexplained_seconds: ledger.unexplained,
        residual_seconds: ledger.residual,
    }
}

fn segment_status(segment: &SegmentWindow, window_age_seconds: f64) -> SegmentStatus {
    SegmentStatus {
        name: segment.name.clone(),
        seconds: segment.mean,
        bound_seconds: segment.bound,
        source: segment.evidence,
        population: segment.population,
        node: segment.node.clone(),
        age_seconds: segment.age.map(|age| age.as_secs_f64() + window_age_seconds),
        count: segment.count,
        merged: segment.merged.clone(),
        inconsistent: segment.inconsistent,
        host: segment.host,
    }
}
