//! The probes' counters and histograms: one prepared set of handles per probe and connection.
//!
//! **Cost**: an observation hashes the probe's name once and then only touches atomics. What a
//! probe can always produce exists from the start with 0, because `increase()` does not see a
//! counter's first value; what only a failure produces appears with the first one, as the
//! table's bounds say.
//!
//! With more probes than [`probe::HISTOGRAM_PROBES_MOST`] the histograms are one per path, which all its probes
//! share: a page of a hundred thousand series helps nobody. What a probe has of its own are counters and sums.

use super::families::{Counter, CounterRow, Counters, Histogram, HistogramRow, Histograms};
use super::registry::Registry;
use super::summaries::{Sum, Summaries, SummaryRow};
use crate::model::connection_event::ConnectionEvent;
use crate::model::outcome::{Failure, GrpcStatus};
use crate::model::plan::{Connection, Mode, ProbePlan};
use crate::model::sample::{Outcome, Phases, ProbeSample};
use crate::model::series::probe;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

const RESULTS: CounterRow<6> = CounterRow::of(&probe::RESULTS);
const FAILURES: CounterRow<7> = CounterRow::of(&probe::FAILURES);
const EVENTS: CounterRow<7> = CounterRow::of(&probe::CONNECTION_EVENTS);
const LATE: CounterRow<5> = CounterRow::of(&probe::LATE);
const SKIPPED: CounterRow<5> = CounterRow::of(&probe::SKIPPED);
const CONNECTIONS: CounterRow<5> = CounterRow::of(&probe::CONNECTIONS);
const DURATION: HistogramRow<5> = HistogramRow::of(&probe::DURATION);
const PHASE: SummaryRow<6> = SummaryRow::of(&probe::PHASE);
const SCHEDULE_LAG: HistogramRow<5> = HistogramRow::of(&probe::SCHEDULE_LAG);

/// All probes' families and prepared handles.
pub(super) struct Probes {
    families: Families,
    /// By name, then by connection kind.
    prepared: RwLock<HashMap<String, Vec<Handles>>>,
}

/// The registered families.
struct Families {
    results: Counters<6>,
    failures: Counters<7>,
    events: Counters<7>,
    late: Counters<5>,
    skipped: Counters<5>,
    connections: Counters<5>,
    duration: Histograms<5>,
    phase: Summaries<6>,
    lag: Histograms<5>,
}

impl Probes {
    /// Registers the families and prepares the handles of every planned probe.
    pub(super) fn register(registry: &Registry, plans: &[Arc<ProbePlan>]) -> Self {
        let families = Families {
            results: RESULTS.register(registry),
            failures: FAILURES.register(registry),
            events: EVENTS.register(registry),
            late: LATE.register(registry),
            skipped: SKIPPED.register(registry),
            connections: CONNECTIONS.register(registry),
            duration: DURATION.register(registry),
            phase: PHASE.register(registry),
            lag: SCHEDULE_LAG.register(registry),
        };
        let prepared = RwLock::new(families.prepare(plans));
        Self { families, prepared }
    }

    /// Removes the series of all other plans than these, and prepares those of new ones. Series that a plan
    /// shares with one before go on counting.
    pub(super) fn set_plans(&self, plans: &[Arc<ProbePlan>]) {
        let mut prepared = self.prepared.write().unwrap_or_else(PoisonError::into_inner);
        let mut setup = HashMap::new();
        for plan in plans {
            for &connection in &plan.connections {
                let labels: [&str; 5] =
                    [&plan.source, &plan.target, &plan.name, plan.mode.as_str(), connection.as_str()];
                let has = |phase| plan.mode != Mode::Link && occurs(phase, connection, plan);
                setup.insert(labels, OPTIONAL_PHASES.map(|phase| (phase, has(phase))));
            }
        }
        let stays = |values: &[&str]| {
            let phases = values.first_chunk::<5>().and_then(|labels| setup.get(labels));
            let is_gone = |(phase, has): &(&str, bool)| !has && values.get(5) == Some(phase);
            phases.is_some_and(|phases| !phases.iter().any(is_gone))
        };
        let Families { results, failures, events, late, skipped, connections, duration, phase, lag } =
            &self.families;
        results.retain(stays);
        failures.retain(stays);
        events.retain(stays);
        late.retain(stays);
        skipped.retain(stays);
        connections.retain(stays);
        phase.retain(stays);
        let histograms = histogram_labels(plans);
        let shown = |values: &[&str]| histograms.contains(values);
        duration.retain(shown);
        lag.retain(shown);
        *prepared = self.families.prepare(plans);
    }

    /// Counts a scheduled sample that was not sent.
    pub(super) fn skip(&self, plan: &ProbePlan, connection: Connection) {
        let prepared = self.prepared.read().unwrap_or_else(PoisonError::into_inner);
        let own = prepared.get(&plan.name).into_iter().flatten();
        match own.into_iter().find(|h| h.are_of(plan, connection)) {
            Some(handles) => handles.skipped.inc(),
            None => {
                Handles::prepare(&self.families, plan, connection, is_shared(prepared.len())).skipped.inc();
            }
        }
    }

    /// Counts what happened on a probe's connections besides answers.
    pub(super) fn connection_event(
        &self,
        plan: &ProbePlan,
        connection: Connection,
        event: ConnectionEvent,
        count: u64,
    ) {
        let (mode, connection) = (plan.mode.as_str(), connection.as_str());
        let (kind, reason) = (event.kind.as_str(), event.reason.as_str());
        let labels = [&plan.source, &plan.target, &plan.name, mode, connection, kind, reason];
        self.families.events.with(labels).inc_by(count);
    }

    /// Counts one sample.
    pub(super) fn observe(&self, sample: &ProbeSample) {
        let plan = &sample.plan;
        let prepared = self.prepared.read().unwrap_or_else(PoisonError::into_inner);
        let own = prepared.get(&plan.name).into_iter().flatten();
        match own.into_iter().find(|h| h.are_of(plan, sample.connection)) {
            Some(handles) => handles.observe(&self.families, sample),
            // A plan that was not announced: the same series, looked up by their labels.
            None => Handles::prepare(&self.families, plan, sample.connection, is_shared(prepared.len()))
                .observe(&self.families, sample),
        }
    }
}

/// Whether so many probes share their paths' histograms.
fn is_shared(probes: usize) -> bool {
    probes > probe::HISTOGRAM_PROBES_MOST
}

/// The label values of all histograms that plans have.
fn histogram_labels(plans: &[Arc<ProbePlan>]) -> HashSet<[&str; 5]> {
    let is_shared = is_shared(plans.len());
    let labels = plans.iter().flat_map(|plan| plan.connections.iter().map(move |c| (plan, *c)));
    labels.map(|(plan, connection)| labels_of_histogram(plan, connection, is_shared)).collect()
}

fn labels_of_histogram(plan: &ProbePlan, connection: Connection, is_shared: bool) -> [&str; 5] {
    let name = if is_shared { "" } else { plan.name.as_str() };
    [&plan.source, &plan.target, name, plan.mode.as_str(), connection.as_str()]
}

impl Families {
    /// The handles of every plan; series that there are already stay as they are.
    fn prepare(&self, plans: &[Arc<ProbePlan>]) -> HashMap<String, Vec<Handles>> {
        let handles = plans.iter().map(|plan| {
            let handles =
                plan.connections.iter().map(|&c| Handles::prepare(self, plan, c, is_shared(plans.len())));
            (plan.name.clone(), handles.collect())
        });
        handles.collect()
    }
}

/// Label values and handles of one probe on one kind of connection.
struct Handles {
    source: String,
    target: String,
    probe: String,
    mode: Mode,
    connection: Connection,
    /// **None**: a link probe, which has no request and so no latency.
    rpc: Option<RpcHandles>,
    lag: Histogram,
    skipped: Counter,
    connections: Counter,
    /// By [`GrpcStatus`].
    results: [OnceLock<Counter>; GrpcStatus::ALL.len()],
    /// In the order of [`Phases::NAMES`].
    phases: [OnceLock<Arc<Sum>>; Phases::NAMES.len()],
}

/// What only probes with an RPC have.
struct RpcHandles {
    duration: Histogram,
    late: Counter,
}

impl Handles {
    fn prepare(families: &Families, plan: &ProbePlan, connection: Connection, is_shared: bool) -> Self {
        let of_histogram = labels_of_histogram(plan, connection, is_shared);
        let labels = [&plan.source, &plan.target, &plan.name, plan.mode.as_str(), connection.as_str()];
        let handles = Self {
            source: plan.source.clone(),
            target: plan.target.clone(),
            probe: plan.name.clone(),
            mode: plan.mode,
            connection,
            rpc: (plan.mode != Mode::Link).then(|| RpcHandles {
                duration: families.duration.with(of_histogram),
                late: families.late.with(labels),
            }),
            lag: families.lag.with(of_histogram),
            skipped: families.skipped.with(labels),
            connections: families.connections.with(labels),
            results: Default::default(),
            phases: Default::default(),
        };
        handles.result(families, GrpcStatus::Ok);
        for (index, phase) in Phases::NAMES.into_iter().enumerate() {
            if handles.rpc.is_some() && occurs(phase, connection, plan) {
                handles.phase(families, index);
            }
        }
        handles
    }

    /// Whether these handles are this plan's. The name alone does not say so: a probe may keep
    /// its name and be given another target.
    fn are_of(&self, plan: &ProbePlan, connection: Connection) -> bool {
        self.connection == connection
            && self.mode == plan.mode
            && self.target == plan.target
            && self.source == plan.source
    }

    fn observe(&self, families: &Families, sample: &ProbeSample) {
        self.lag.observe(sample.lag.as_secs_f64());
        self.connections.inc_by(u64::from(sample.opened));
        match &sample.outcome {
            Outcome::Failed(failure) => {
                self.result(families, failure.status).inc();
                self.failure(families, failure).inc();
            }
            Outcome::Late => {
                self.result(families, sample.answer.status).inc();
                if let Some(rpc) = &self.rpc {
                    rpc.late.inc();
                }
            }
            Outcome::Ok | Outcome::Voided(None) => self.result(families, sample.answer.status).inc(),
            // Nobody answered, and nobody is to blame but this prober.
            Outcome::Voided(Some(_)) => {}
        }
        let Some(rpc) = self.rpc.as_ref().filter(|_| sample.is_measurement()) else { return };
        if let Some(total) = sample.total() {
            rpc.duration.observe(total.as_secs_f64());
        }
        for (index, (_, duration)) in sample.phases.named().into_iter().enumerate() {
            if let Some(duration) = duration {
                self.phase(families, index).observe(duration);
            }
        }
    }

    fn result(&self, families: &Families, status: GrpcStatus) -> &Counter {
        self.results[status as usize].get_or_init(|| families.results.with(self.labels_and(status.as_str())))
    }

    /// Looked up each time: failures are rare, and pairs of class and phase are many.
    fn failure(&self, families: &Families, failure: &Failure) -> Counter {
        let [source, target, probe, mode, connection, class] = self.labels_and(failure.class.as_str());
        families.failures.with([source, target, probe, mode, connection, class, failure.phase.as_str()])
    }

    fn phase(&self, families: &Families, index: usize) -> &Sum {
        self.phases[index].get_or_init(|| families.phase.with(self.labels_and(Phases::NAMES[index])))
    }

    fn labels_and<'a>(&'a self, last: &'a str) -> [&'a str; 6] {
        [&self.source, &self.target, &self.probe, self.mode.as_str(), self.connection.as_str(), last]
    }
}

/// Phases that only some routes have.
const OPTIONAL_PHASES: [&str; 2] = ["tls", "tunnel"];

/// Whether a phase is part of every good sample on this kind of connection.
fn occurs(phase: &str, connection: Connection, plan: &ProbePlan) -> bool {
    match phase {
        "request" | "wait" | "response" => true,
        "tls" => plan.route.tls.is_some() && connection == Connection::Fresh,
        "tunnel" => plan.route.dial.proxy.is_some() && connection == Connection::Fresh,
        _ => connection == Connection::Fresh,
    }
}
