//! The Prometheus exporter: what of the agent's figures does a scrape see?
//!
//! Every family comes from the metric table (`model::series`) and nothing else is exposed.
//! Counters and histograms live in prepared handles; gauges are built from the last window when
//! a scrape asks (see `gauges`).

mod bursts;
mod connections;
mod discovery;
mod families;
mod gauges;
mod health;
mod host;
mod kernel;
mod labels;
mod links;
mod listeners;
mod numbers;
mod probes;
mod registry;
mod streams;
mod summaries;
#[cfg(test)]
mod tests;
mod text;

pub use gauges::AgentLabels;
pub use listeners::Doors;
pub use text::Give;

use crate::model::burst::Burst;
use crate::model::certificate::{Certificates, TlsLooked};
use crate::model::connection_event::ConnectionEvent;
use crate::model::discovery::{DiscoveryState, DropReason, LookupClass};
use crate::model::health::HealthEvent;
use crate::model::host::HostSnapshot;
use crate::model::kernel::KernelSnapshot;
use crate::model::plan::{Connection, ProbePlan};
use crate::model::reload::ConfigState;
use crate::model::sample::ProbeSample;
use crate::model::series::kernel::Names;
use crate::model::series::lost::{self, Loss};
use crate::model::series::{path, sockets};
use crate::model::status::{LossStatus, MeasurementStatus};
use crate::model::window::Window;
use bursts::Bursts;
use connections::Connections;
use discovery::Discoveries;
use families::{Counter, CounterRow, Counters, register_collector};
use gauges::{GaugeCollector, Gauges};
use health::Health;
use host::{Host, HostCollector};
use kernel::{KernelCollector, Sockets};
use links::Links;
use listeners::Listeners;
use probes::Probes;
use registry::Registry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use streams::Streams;
use text::Text;

/// The content type of what [`Metrics::write`] gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const LOST: CounterRow<2> = CounterRow::of(&lost::LOST);
const PEER_LOOKUP_FAILURES: CounterRow<0> = CounterRow::of(&sockets::PEER_LOOKUP_FAILURES);
const LEDGER_INCONSISTENT: CounterRow<5> = CounterRow::of(&path::LEDGER_INCONSISTENT);

/// Losses that any agent with a probe can have. They exist from the start with 0, so that an
/// `increase()` sees the first one; the other combinations appear when they occur.
const STANDING_LOSSES: [(&str, Loss); 5] = [
    ("probe", Loss::InFlight),
    ("probe", Loss::Voided),
    ("hop_headers", Loss::Malformed),
    ("hop_headers", Loss::Capped),
    ("hop_headers", Loss::UnknownHop),
];

/// Every family that the agent exports. All methods take `&self` and may be called from any
/// thread.
pub struct Metrics {
    registry: Registry,
    probes: Probes,
    connections: Connections,
    links: Links,
    discoveries: Discoveries,
    health: Health,
    bursts: Bursts,
    streams: Streams,
    listeners: Arc<Listeners>,
    gauges: Arc<Gauges>,
    sockets: Arc<Sockets>,
    host: Arc<Host>,
    inconsistent: Counters<5>,
    plans: Mutex<Vec<Arc<ProbePlan>>>,
    lost: Counters<2>,
    peer_lookup_failures: Counters<0>,
    /// The counters that exist, for [`Self::lost_snapshot`].
    losses: Mutex<BTreeMap<(&'static str, Loss), Counter>>,
}

impl Metrics {
    /// Registers every family of the metric table and prepares the series of the planned probes.
    /// `window` is the configured window length. Call it once, at the agent's start: the moment
    /// is exported as the start time.
    pub fn new(agent: &AgentLabels, window: Duration, plans: &[Arc<ProbePlan>]) -> Self {
        let registry = Registry::default();
        let gauges = Arc::new(Gauges::new(agent.clone(), window));
        register_collector(&registry, GaugeCollector(Arc::clone(&gauges)));
        let sockets = Arc::new(Sockets::default());
        register_collector(&registry, KernelCollector(Arc::clone(&sockets)));
        let host = Arc::new(Host::default());
        register_collector(&registry, HostCollector(Arc::clone(&host)));
        let metrics = Self {
            probes: Probes::register(&registry, plans),
            connections: Connections::register(&registry, plans),
            links: Links::register(&registry, plans),
            discoveries: Discoveries::register(&registry),
            health: Health::register(&registry),
            bursts: Bursts::register(&registry),
            streams: Streams::register(&registry),
            listeners: Listeners::register(&registry),
            inconsistent: LEDGER_INCONSISTENT.register(&registry),
            plans: Mutex::new(plans.to_vec()),
            lost: LOST.register(&registry),
            peer_lookup_failures: PEER_LOOKUP_FAILURES.register(&registry),
            losses: Mutex::default(),
            gauges,
            sockets,
            host,
            registry,
        };
        // So that an increase shows.
        metrics.peer_lookup_failures.with([]).inc_by(0);
        for (measurement, loss) in STANDING_LOSSES {
            metrics.lost(measurement, loss, 0);
        }
        metrics
    }

    /// Counts one sample: its result, its latency and phases if it is a measurement, its schedule
    /// lag always, and what was lost with it.
    pub fn observe(&self, sample: &ProbeSample) {
        self.probes.observe(sample);
        self.connections.observe(sample);
        self.links.observe(sample);
        self.streams.observe(sample);
        if sample.is_voided() {
            self.lost("probe", Loss::Voided, 1);
        }
        for (loss, counts) in [(Loss::Malformed, &sample.hops.malformed), (Loss::Capped, &sample.hops.capped)]
        {
            for &(_, count) in counts {
                self.lost("hop_headers", loss, u64::from(count));
            }
        }
    }

    /// Takes other plans from now on: series that no plan makes any more are gone, those of new ones are
    /// there with 0, and those with the same labels as before go on. Gauges of a plan that is not the very
    /// same (the same `Arc`) are absent until the next window.
    ///
    /// **Cost**: that of a scrape.
    pub fn set_plans(&self, plans: &[Arc<ProbePlan>]) {
        let mut before = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        self.probes.set_plans(plans);
        self.connections.set_plans(plans);
        self.links.set_plans(plans);
        self.gauges.set_plans(plans);
        self.health.set_plans(plans);
        self.streams.set_plans(plans);
        self.bursts.set_plans(plans);
        let old: HashMap<_, _> = before.iter().map(|plan| (plan.name.as_str(), plan)).collect();
        // Its segments are named along the route: another route has others.
        let stay: HashSet<[&str; 3]> = plans
            .iter()
            .filter(|plan| {
                old.get(plan.name.as_str()).is_some_and(|old| {
                    let (old, new) = (&old.route, &plan.route);
                    old.origin == new.origin && old.hops == new.hops
                })
            })
            .map(|plan| [plan.source.as_str(), &plan.target, &plan.name])
            .collect();
        self.inconsistent.retain(|values| values.first_chunk::<3>().is_some_and(|of| stay.contains(of)));
        *before = plans.to_vec();
    }

    /// Shows how the running configuration stands to its file, made from what was shown before.
    pub fn publish_config(&self, change: impl FnOnce(ConfigState) -> ConfigState) {
        self.gauges.show_config(change);
    }

    /// Shows how discoveries fare, in place of what was shown before. Those that are not among them any more
    /// have no series any more.
    pub fn publish_discoveries(&self, states: Vec<DiscoveryState>) {
        self.discoveries.show(states);
    }

    /// Shows how these listeners fare from now on.
    pub fn show_listeners(&self, doors: Doors) {
        self.listeners.show(doors);
    }

    /// Counts a look-up of a discovery that brought no roster.
    pub fn discovery_failed(&self, discovery: &str, class: LookupClass) {
        self.discoveries.failed(discovery, class);
    }

    /// Counts something that could not be made of an endpoint.
    pub fn discovery_dropped(&self, discovery: &str, reason: DropReason) {
        self.discoveries.dropped(discovery, reason);
    }

    /// Counts another roster of a discovery that is used from now on.
    pub fn discovery_updated(&self, discovery: &str) {
        self.discoveries.updated(discovery);
    }

    /// Counts a look-up of a peer group's host that failed.
    pub fn peer_lookup_failed(&self) {
        self.peer_lookup_failures.with([]).inc();
    }

    /// Counts a scheduled probe that was never sent, as a loss and in its probe's own series.
    pub fn skip(&self, plan: &ProbePlan, connection: Connection) {
        self.probes.skip(plan, connection);
        self.lost("probe", Loss::InFlight, 1);
    }

    /// Counts what happened on a probe's connections besides answers.
    pub fn connection_event(
        &self,
        plan: &ProbePlan,
        connection: Connection,
        event: ConnectionEvent,
        count: u64,
    ) {
        self.probes.connection_event(plan, connection, event, count);
    }

    /// Shows when the certificates of a probe's connections end.
    pub fn certificates(&self, plan: &Arc<ProbePlan>, certificates: Certificates) {
        self.connections.show_certificates(plan, certificates);
    }

    /// Counts what became of TLS files that were other ones than before.
    pub fn tls_files_looked_at(&self, looked: TlsLooked) {
        self.connections.looked(looked);
    }

    /// Counts a closer look that has ended.
    pub fn burst(&self, plan: &ProbePlan, burst: &Burst) {
        self.bursts.observe(plan, burst);
    }

    /// Counts what a health watch was told, or that it is told nothing any more.
    pub fn health(&self, plan: &Arc<ProbePlan>, event: &HealthEvent) {
        self.health.take(plan, event);
    }

    /// Shows the least time between two PINGs of a probe whose next hop asked for fewer.
    pub fn ping_interval(&self, plan: &Arc<ProbePlan>, interval: Duration) {
        self.gauges.show_ping_interval(plan, interval);
    }

    /// Counts what a measurement lost. `measurement` is one of `series::lost::MEASUREMENTS`.
    pub fn lost(&self, measurement: &'static str, loss: Loss, count: u64) {
        debug_assert!(lost::MEASUREMENTS.contains(&measurement), "{measurement} is not in the table");
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses
            .entry((measurement, loss))
            .or_insert_with(|| self.lost.with([measurement, loss.as_str()]))
            .inc_by(count);
    }

    /// Every loss since the start that is not 0, ordered by measurement and loss.
    pub fn lost_snapshot(&self) -> Vec<LossStatus> {
        let losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses
            .iter()
            .filter(|(_, counter)| counter.get() > 0)
            .map(|(&(measurement, loss), counter)| LossStatus {
                measurement: measurement.to_owned(),
                loss: loss.as_str().to_owned(),
                count: counter.get(),
            })
            .collect()
    }

    /// Shows this window's gauges in place of the last one's. A window is shown until it ended
    /// three window lengths ago; after that (the correlator is dead) its gauges are absent.
    pub fn publish_window(&self, window: &Arc<Window>) {
        for path in &window.paths {
            for ledger in &path.ledgers {
                for segment in &ledger.segments {
                    let of = [&path.source, &path.target, &ledger.probe, ledger.kind.as_str(), &segment.name];
                    self.inconsistent.with(of).inc_by(segment.inconsistent);
                }
            }
        }
        self.gauges.show_window(Arc::clone(window));
    }

    /// Shows what the programs in the kernel have counted so far; its losses are added up. `names`
    /// are what its groups are called.
    ///
    /// Cumulative: `snapshot` is of the same programs as the one before.
    pub fn publish_kernel(&self, snapshot: KernelSnapshot, names: &Names) {
        for (measurement, loss, more) in self.sockets.show(snapshot, names) {
            self.lost(measurement.name(), loss.into(), more);
        }
    }

    /// Shows what the host says of itself and its forwarders; its losses are added up. A snapshot is
    /// shown until it is three reading periods old; after that its families are absent.
    pub fn publish_host(&self, snapshot: Arc<HostSnapshot>) {
        let lost = self.host.show(snapshot);
        for (loss, count) in [(Loss::Unparsed, lost.unparsed), (Loss::Capped, lost.capped)] {
            if count > 0 {
                self.lost("host", loss, count);
            }
        }
    }

    /// Shows these measurements' states in place of the last ones.
    pub fn publish_measurements(&self, measurements: &[MeasurementStatus]) {
        self.gauges.show_measurements(measurements.into());
    }

    /// Everything as text 0.0.4 ([`CONTENT_TYPE`]), families and series in alphabetical order.
    /// A family without a series is not there.
    ///
    /// Given away in pieces of some 64 KiB, each of whole lines; a piece is all that is held of the text.
    ///
    /// **Cost**: proportional to the number of series; no I/O but what `give` does. While a family is
    /// written, series that are new in it wait: `give` must not.
    pub fn write(&self, give: &mut Give<'_>) {
        let mut text = Text::new(give);
        self.registry.write(&mut text);
        text.finish();
    }

    /// What [`Self::write`] gives, as one text.
    pub fn render(&self) -> String {
        let mut page = String::new();
        self.write(&mut |piece| {
            page += &piece;
            ControlFlow::Continue(())
        });
        page
    }
}
