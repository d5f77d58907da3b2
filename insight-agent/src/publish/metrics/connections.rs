//! Families of a probe's connections, where one label more tells them apart: slots and certificates; and of the
//! TLS files that they use.

use super::families::{CounterRow, Counters, GaugeRow, register_collector};
use super::registry::{Collector, Family, Registry};
use super::summaries::{Summaries, SummaryRow};
use crate::model::certificate::{Certificates, TlsLooked};
use crate::model::outcome::Failure;
use crate::model::plan::{Connection, ProbePlan};
use crate::model::sample::{Outcome, ProbeSample};
use crate::model::series::Series;
use crate::model::series::connections::{self, LOADS, SLOTS};
use crate::model::series::probe::HISTOGRAM_PROBES_MOST;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SLOT_DURATION: SummaryRow<4> = SummaryRow::of(&connections::SLOT_DURATION);
const SLOT_FAILURES: CounterRow<4> = CounterRow::of(&connections::SLOT_FAILURES);
const SLOT_CONNECTIONS: CounterRow<4> = CounterRow::of(&connections::SLOT_CONNECTIONS);
const CERTIFICATE_EXPIRY: GaugeRow<4> = GaugeRow::of(&connections::CERTIFICATE_EXPIRY);
const TLS_FILE_LOADS: CounterRow<1> = CounterRow::of(&connections::TLS_FILE_LOADS);
const TLS_FILES_STALE: GaugeRow<0> = GaugeRow::of(&connections::TLS_FILES_STALE);

/// The families.
pub(super) struct Connections {
    duration: Summaries<4>,
    failures: Counters<4>,
    opened: Counters<4>,
    loads: Counters<1>,
    shown: Arc<Shown>,
}

impl Connections {
    /// Registers them and prepares the series of every slot.
    pub(super) fn register(registry: &Registry, plans: &[Arc<ProbePlan>]) -> Self {
        let shown = Arc::new(Shown::default());
        register_collector(registry, ShownCollector(Arc::clone(&shown)));
        let families = Self {
            duration: SLOT_DURATION.register(registry),
            failures: SLOT_FAILURES.register(registry),
            opened: SLOT_CONNECTIONS.register(registry),
            loads: TLS_FILE_LOADS.register(registry),
            shown,
        };
        for result in LOADS {
            // So that an increase shows.
            families.loads.with([result]).inc_by(0);
        }
        families.prepare(plans);
        families
    }

    /// Removes what is of none of these plans, and prepares what is new.
    pub(super) fn set_plans(&self, plans: &[Arc<ProbePlan>]) {
        let slots: HashMap<_, _> = plans
            .iter()
            .map(|plan| ([plan.source.as_str(), &plan.target, &plan.name], slots_of(plan)))
            .collect();
        let stays = |values: &[&str]| {
            let slots = values.first_chunk::<3>().and_then(|of| slots.get(of)).copied().unwrap_or_default();
            values.get(3).is_some_and(|slot| slots.contains(slot))
        };
        self.duration.retain(stays);
        self.failures.retain(stays);
        self.opened.retain(stays);
        self.prepare(plans);
        let mut shown = self.shown.lock();
        shown.probes = plans.len();
        let names: HashMap<_, _> = plans.iter().map(|plan| (plan.name.as_str(), plan)).collect();
        shown
            .certificates
            .retain(|name, (known, _)| names.get(name.as_str()).is_some_and(|plan| Arc::ptr_eq(plan, known)));
    }

    fn prepare(&self, plans: &[Arc<ProbePlan>]) {
        for plan in plans {
            for slot in slots_of(plan) {
                let labels = [&plan.source, &plan.target, &plan.name, *slot];
                self.duration.with(labels);
                self.failures.with(labels).inc_by(0);
                self.opened.with(labels).inc_by(0);
            }
        }
        self.shown.lock().probes = plans.len();
    }

    /// Counts one sample, if its probe has several connections of its kind.
    pub(super) fn observe(&self, sample: &ProbeSample) {
        let Some(slot) = sample.slot.and_then(|slot| SLOTS.get(usize::from(slot))) else { return };
        let plan = &sample.plan;
        let labels = [&plan.source, &plan.target, &plan.name, *slot];
        if sample.opened {
            self.opened.with(labels).inc();
        }
        match (&sample.outcome, sample.total()) {
            (Outcome::Failed(Failure { .. }), _) => self.failures.with(labels).inc(),
            (Outcome::Ok | Outcome::Late, Some(total)) => self.duration.with(labels).observe(total),
            _ => {}
        }
    }

    /// Shows when a probe's certificates end, in place of what was shown before.
    pub(super) fn show_certificates(&self, plan: &Arc<ProbePlan>, certificates: Certificates) {
        self.shown.lock().certificates.insert(plan.name.clone(), (Arc::clone(plan), certificates));
    }

    /// Counts what became of TLS files that were other ones.
    pub(super) fn looked(&self, looked: TlsLooked) {
        let [loaded, failed] = LOADS;
        self.loads.with([loaded]).inc_by(looked.loaded);
        self.loads.with([failed]).inc_by(looked.failed);
        self.shown.lock().stale = looked.stale;
    }
}

/// The names of a probe's slots; none where one connection needs no name.
fn slots_of(plan: &ProbePlan) -> &'static [&'static str] {
    let has_several = plan.slots > 1 && plan.connections.contains(&Connection::Reused);
    SLOTS.get(..plan.slots).filter(|_| has_several).unwrap_or_default()
}

// ---- gauges ---------------------------------------------------------------------------------

#[derive(Default)]
struct Shown(Mutex<State>);

#[derive(Default)]
struct State {
    probes: usize,
    stale: u64,
    /// By the probe's name.
    certificates: HashMap<String, (Arc<ProbePlan>, Certificates)>,
}

impl Shown {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Entries are replaced whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The registry's handle on the gauges.
struct ShownCollector(Arc<Shown>);

impl Collector for ShownCollector {
    fn rows(&self) -> Vec<&'static Series> {
        vec![CERTIFICATE_EXPIRY.row(), TLS_FILES_STALE.row()]
    }

    fn collect(&self) -> Vec<Family> {
        let (mut expiry, mut stale) = (CERTIFICATE_EXPIRY.family(), TLS_FILES_STALE.family());
        let shown = self.0.lock();
        let is_shared = shown.probes > HISTOGRAM_PROBES_MOST;
        let mut earliest: BTreeMap<[&str; 3], Certificates> = BTreeMap::new();
        for (plan, certificates) in shown.certificates.values() {
            let name = if is_shared { "" } else { plan.name.as_str() };
            let of = earliest.entry([&plan.source, &plan.target, name]).or_default();
            *of = of.earliest(*certificates);
        }
        for ([source, target, name], certificates) in earliest {
            for (kind, end) in certificates.named() {
                expiry.put([source, target, name, kind], end.map(|end| end as f64));
            }
        }
        stale.put([], Some(shown.stale as f64));
        vec![expiry.into_family(), stale.into_family()]
    }
}
