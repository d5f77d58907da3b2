//! Every gauge of the exporter: what does the last complete window say?
//!
//! Gauges are not stored. A scrape takes the last published window and the last list of
//! measurements under one lock and builds the families from them. So a scrape sees one window as
//! a whole, a segment whose evidence changed leaves nothing behind, an unknown figure has no
//! series, and a window that is too old is not shown.

use super::families::GaugeRow;
use super::numbers::NumberFamily;
use crate::model::hop::ServiceLoad;
use crate::model::ledger::{Evidence, LedgerKind, UNEXPLAINED};
use crate::model::plan::ProbePlan;
use crate::model::reload::ConfigState;
use crate::model::series::{agent, link, path, probe, service};
use crate::model::status::MeasurementStatus;
use crate::model::window::{LedgerWindow, PathWindow, ProbeWindow, Window};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

const CROSS_REGION_LATENCY: GaugeRow<2> = GaugeRow::of(&path::CROSS_REGION_LATENCY);
const LEDGER: GaugeRow<6> = GaugeRow::of(&path::LEDGER);
const LEDGER_SAMPLES: GaugeRow<5> = GaugeRow::of(&path::LEDGER_SAMPLES);
const LEDGER_AGE: GaugeRow<4> = GaugeRow::of(&path::LEDGER_AGE);
const HOP_BUSY: GaugeRow<3> = GaugeRow::of(&path::HOP_BUSY);
const HOP_THROTTLED: GaugeRow<3> = GaugeRow::of(&path::HOP_THROTTLED);
const HOP_RUN_DELAY: GaugeRow<3> = GaugeRow::of(&path::HOP_RUN_DELAY);
const LEDGER_END_TO_END: GaugeRow<4> = GaugeRow::of(&path::LEDGER_END_TO_END);
const LEDGER_RESIDUAL: GaugeRow<3> = GaugeRow::of(&path::LEDGER_RESIDUAL);
const SUCCESS_RATIO: GaugeRow<5> = GaugeRow::of(&probe::SUCCESS_RATIO);
const PING_INTERVAL: GaugeRow<3> = GaugeRow::of(&probe::PING_INTERVAL);
const RULER: GaugeRow<5> = GaugeRow::of(&probe::RULER);
const SERVICE_TIME: GaugeRow<5> = GaugeRow::of(&service::TIME);
const SERVICE_LOAD_RATIO: GaugeRow<5> = GaugeRow::of(&service::LOAD_RATIO);
const SERVICE_LOAD_RATE: GaugeRow<5> = GaugeRow::of(&service::LOAD_RATE);
const SERVICE_LOAD_METRIC: GaugeRow<5> = GaugeRow::of(&service::LOAD_METRIC);
const LINK_FLOOR: GaugeRow<3> = GaugeRow::of(&link::FLOOR);
const BUILD_INFO: GaugeRow<3> = GaugeRow::of(&agent::BUILD_INFO);
const MEASUREMENT_STATE: GaugeRow<4> = GaugeRow::of(&agent::MEASUREMENT_STATE);
const START_TIME: GaugeRow<0> = GaugeRow::of(&agent::START_TIME);
const WINDOW: GaugeRow<0> = GaugeRow::of(&agent::WINDOW);
const RELOAD_SUCCESSFUL: GaugeRow<0> = GaugeRow::of(&agent::RELOAD_SUCCESSFUL);
const RELOAD_SUCCESS_TIME: GaugeRow<0> = GaugeRow::of(&agent::RELOAD_SUCCESS_TIME);
const RESTART_REQUIRED: GaugeRow<0> = GaugeRow::of(&agent::RESTART_REQUIRED);

/// The families of what services say of themselves.
const SERVICE_ROWS: [GaugeRow<5>; 4] =
    [SERVICE_TIME, SERVICE_LOAD_RATIO, SERVICE_LOAD_RATE, SERVICE_LOAD_METRIC];

/// A window is shown until it ended this many window lengths ago. With 1 a window that comes a
/// moment late would leave gaps in every gauge; with many more, a dead correlator would go on
/// showing figures that nothing measures any more.
const SHOWN_WINDOWS: u32 = 3;

/// Who exports: the constant labels of `insight_build_info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentLabels {
    /// The agent's name, the `node` label.
    pub name: String,
    /// The region it stands in.
    pub region: String,
    /// The program's version.
    pub version: String,
}

/// What the gauges show.
pub(super) struct Gauges {
    agent: AgentLabels,
    started: SystemTime,
    window: Duration,
    shown: Mutex<Shown>,
}

/// The last published snapshots.
#[derive(Clone)]
struct Shown {
    window: Option<Arc<Window>>,
    measurements: Arc<[MeasurementStatus]>,
    config: ConfigState,
    /// Of probes whose next hop asked for fewer PINGs.
    ping_intervals: Vec<(Arc<ProbePlan>, Duration)>,
}

impl Gauges {
    pub(super) fn new(agent: AgentLabels, window: Duration) -> Self {
        let started = SystemTime::now();
        let success = started.duration_since(SystemTime::UNIX_EPOCH).ok();
        let config = ConfigState { successful: true, success, restart_required: false };
        let shown = Shown { window: None, measurements: Arc::default(), config, ping_intervals: Vec::new() };
        Self { agent, started, window, shown: Mutex::new(shown) }
    }

    /// Replaces the shown window.
    pub(super) fn show_window(&self, window: Arc<Window>) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).window = Some(window);
    }

    /// Replaces the shown measurements.
    pub(super) fn show_measurements(&self, measurements: Arc<[MeasurementStatus]>) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).measurements = measurements;
    }

    /// Replaces the least time between two PINGs of one probe.
    pub(super) fn show_ping_interval(&self, plan: &Arc<ProbePlan>, interval: Duration) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.ping_intervals.retain(|(known, _)| known.name != plan.name);
        shown.ping_intervals.push((Arc::clone(plan), interval));
    }

    /// Leaves out what is of none of these plans.
    pub(super) fn set_plans(&self, plans: &[Arc<ProbePlan>]) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.window = shown.window.take().map(|window| Arc::new(window.narrowed(plans)));
        shown.ping_intervals.retain(|(known, _)| plans.iter().any(|plan| Arc::ptr_eq(plan, known)));
    }

    /// Replaces what is known of the configuration, made from what was.
    pub(super) fn show_config(&self, change: impl FnOnce(ConfigState) -> ConfigState) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.config = change(shown.config);
    }

    fn families(&self) -> Vec<MetricFamily> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut families = self.agent_families(&shown.measurements);
        families.extend(config_families(shown.config));
        families.push(ping_intervals(&shown.ping_intervals));
        if let Some(window) = shown.window.filter(|w| is_fresh(w, Instant::now())) {
            families.extend(window_families(&window));
        }
        families
    }

    fn agent_families(&self, measurements: &[MeasurementStatus]) -> Vec<MetricFamily> {
        let mut build = BUILD_INFO.family();
        build.put([&self.agent.version, &self.agent.region, &self.agent.name], Some(1.0));
        let mut start = START_TIME.family();
        let since_epoch = self.started.duration_since(SystemTime::UNIX_EPOCH).ok();
        start.put([], since_epoch.map(|d| d.as_secs_f64()));
        let mut length = WINDOW.family();
        length.put([], Some(self.window.as_secs_f64()));
        let mut state = MEASUREMENT_STATE.family();
        for m in measurements {
            state.put([&m.node, &m.name, m.state.as_str(), &m.reason], Some(1.0));
        }
        vec![build.into_proto(), start.into_proto(), length.into_proto(), state.into_proto()]
    }
}

fn ping_intervals(of: &[(Arc<ProbePlan>, Duration)]) -> MetricFamily {
    let mut family = PING_INTERVAL.family();
    for (plan, interval) in of {
        family.put([&plan.source, &plan.target, &plan.name], Some(interval.as_secs_f64()));
    }
    family.into_proto()
}

fn config_families(config: ConfigState) -> [MetricFamily; 3] {
    let single = |row: GaugeRow<0>, value: Option<f64>| {
        let mut family = row.family();
        family.put([], value);
        family.into_proto()
    };
    [
        single(RELOAD_SUCCESSFUL, Some(f64::from(u8::from(config.successful)))),
        single(RELOAD_SUCCESS_TIME, config.success.map(|since| since.as_secs_f64())),
        single(RESTART_REQUIRED, Some(f64::from(u8::from(config.restart_required)))),
    ]
}

/// Whether a window is young enough to be shown.
fn is_fresh(window: &Window, now: Instant) -> bool {
    now.saturating_duration_since(window.ended) <= window.length * SHOWN_WINDOWS
}

// ---- the families of a window ---------------------------------------------------------------

fn window_families(window: &Window) -> Vec<MetricFamily> {
    let mut latency = CROSS_REGION_LATENCY.family();
    let mut ledgers = LedgerFamilies::default();
    let mut hops = [HOP_BUSY.family(), HOP_THROTTLED.family(), HOP_RUN_DELAY.family()];
    for path in &window.paths {
        put_hops(&mut hops, path);
        let ms = path.cross_region_latency.map(|d| d.as_secs_f64() * 1e3);
        latency.put([&path.source, &path.target], ms);
        for ledger in &path.ledgers {
            ledgers.put(path, ledger);
        }
    }
    let mut ratio = SUCCESS_RATIO.family();
    let mut ruler = RULER.family();
    let mut floor = LINK_FLOOR.family();
    let mut service = SERVICE_ROWS.map(GaugeRow::family);
    for probe in &window.probes {
        put_probe(&mut ratio, &mut ruler, probe);
        put_link(&mut floor, probe);
        put_service(&mut service, probe);
    }
    let mut families = ledgers.into_protos();
    families.extend(hops.map(NumberFamily::into_proto));
    families.extend(service.map(NumberFamily::into_proto));
    families.extend([latency.into_proto(), ratio.into_proto(), ruler.into_proto(), floor.into_proto()]);
    families
}

fn put_probe(ratio: &mut NumberFamily<5>, ruler: &mut NumberFamily<5>, window: &ProbeWindow) {
    let plan = &window.plan;
    let connection = window.connection.as_str();
    ratio.put(
        [&plan.source, &plan.target, &plan.name, plan.mode.as_str(), connection],
        window.success_ratio(),
    );
    for (name, seconds) in probe::RULERS.into_iter().zip(window.rulers) {
        ruler.put([&plan.source, &plan.target, &plan.name, connection, name], seconds);
    }
}

fn put_link(floor: &mut NumberFamily<3>, window: &ProbeWindow) {
    let Some(ends) = window.plan.link() else { return };
    for (name, seconds) in probe::RULERS.into_iter().zip(window.floors) {
        // Its handshakes come from one window, its PINGs from another: each has only its own.
        if link::LINK_RULERS.contains(&name) && seconds.is_some() {
            floor.put([&ends.from, &ends.to, name], seconds);
        }
    }
}

/// What the service says of itself, in the order of [`SERVICE_ROWS`].
fn put_service(families: &mut [NumberFamily<5>; 4], window: &ProbeWindow) {
    let plan = &window.plan;
    let connection = window.connection.as_str();
    let [times, ratios, rates, named] = families;
    let put = |family: &mut NumberFamily<5>, name: &str, figure| {
        family.put([&plan.source, &plan.target, &plan.name, connection, name], figure);
    };
    let said = &window.service;
    service::TIMES.iter().zip(said.times).for_each(|(name, seconds)| put(times, name, seconds));
    ServiceLoad::RATIOS.iter().zip(said.ratios).for_each(|(name, ratio)| put(ratios, name, ratio));
    ServiceLoad::RATES.iter().zip(said.rates).for_each(|(name, rate)| put(rates, name, rate));
    said.named.iter().for_each(|(name, figure)| put(named, name, Some(*figure)));
}

/// A hop is on the paths of several probes; its host is the same for all of them.
fn put_hops(families: &mut [NumberFamily<3>; 3], path: &PathWindow) {
    let segments = path.ledgers.iter().flat_map(|ledger| &ledger.segments);
    let hosts = segments.filter_map(|segment| Some((segment.name.strip_prefix("hop:")?, segment.host?)));
    for (hop, host) in hosts.collect::<BTreeMap<_, _>>() {
        let ratios = [host.busy_ratio, host.throttled_ratio, host.run_delay_ratio];
        for (family, ratio) in families.iter_mut().zip(ratios) {
            family.put([&path.source, &path.target, hop], ratio);
        }
    }
}

/// The families that ledgers are written to.
struct LedgerFamilies {
    means: NumberFamily<6>,
    samples: NumberFamily<5>,
    end_to_end: NumberFamily<4>,
    residual: NumberFamily<3>,
    age: NumberFamily<4>,
}

impl Default for LedgerFamilies {
    fn default() -> Self {
        Self {
            means: LEDGER.family(),
            samples: LEDGER_SAMPLES.family(),
            end_to_end: LEDGER_END_TO_END.family(),
            residual: LEDGER_RESIDUAL.family(),
            age: LEDGER_AGE.family(),
        }
    }
}

impl LedgerFamilies {
    fn put(&mut self, path: &PathWindow, ledger: &LedgerWindow) {
        let [source, target, probe] = [path.source.as_str(), &path.target, &ledger.probe];
        let of = [source, target, probe, ledger.kind.as_str()];
        self.end_to_end.put(of, ledger.end_to_end);
        self.residual.put([source, target, probe], ledger.residual);
        // Without a request of its own, nobody looked for evidence, so that there was none is not
        // known. What the nodes measured stands without any.
        if ledger.count == 0 && ledger.kind == LedgerKind::Probe {
            return;
        }
        for segment in &ledger.segments {
            // A count of 0 is a figure: somebody looked, and this segment stayed silent.
            self.put_count(of, &segment.name, segment.count);
            if let Some(evidence) = segment.evidence {
                self.put_mean(of, &segment.name, evidence, segment.mean);
            }
            if ledger.kind == LedgerKind::Window {
                let age = segment.age.map(|age| age.as_secs_f64());
                self.age.put([source, target, probe, &segment.name], age);
            }
        }
        self.put_count(of, UNEXPLAINED, ledger.count);
        self.put_mean(of, UNEXPLAINED, Evidence::Difference, ledger.unexplained);
    }

    fn put_mean(&mut self, of: [&str; 4], segment: &str, evidence: Evidence, mean: Option<f64>) {
        let [source, target, probe, kind] = of;
        self.means.put([source, target, probe, kind, segment, evidence.as_str()], mean);
    }

    fn put_count(&mut self, of: [&str; 4], segment: &str, count: u64) {
        let [source, target, probe, kind] = of;
        self.samples.put([source, target, probe, kind, segment], Some(count as f64));
    }

    fn into_protos(self) -> Vec<MetricFamily> {
        vec![
            self.means.into_proto(),
            self.samples.into_proto(),
            self.end_to_end.into_proto(),
            self.residual.into_proto(),
            self.age.into_proto(),
        ]
    }
}

// ---- the registry's view --------------------------------------------------------------------

/// The registry's handle on [`Gauges`].
pub(super) struct GaugeCollector {
    gauges: Arc<Gauges>,
    descs: Vec<Desc>,
}

impl GaugeCollector {
    pub(super) fn new(gauges: Arc<Gauges>) -> Self {
        let descs = vec![
            CROSS_REGION_LATENCY.desc(),
            LEDGER.desc(),
            LEDGER_SAMPLES.desc(),
            LEDGER_END_TO_END.desc(),
            LEDGER_RESIDUAL.desc(),
            LEDGER_AGE.desc(),
            HOP_BUSY.desc(),
            HOP_THROTTLED.desc(),
            HOP_RUN_DELAY.desc(),
            SUCCESS_RATIO.desc(),
            PING_INTERVAL.desc(),
            RULER.desc(),
            SERVICE_TIME.desc(),
            SERVICE_LOAD_RATIO.desc(),
            SERVICE_LOAD_RATE.desc(),
            SERVICE_LOAD_METRIC.desc(),
            LINK_FLOOR.desc(),
            BUILD_INFO.desc(),
            MEASUREMENT_STATE.desc(),
            START_TIME.desc(),
            WINDOW.desc(),
            RELOAD_SUCCESSFUL.desc(),
            RELOAD_SUCCESS_TIME.desc(),
            RESTART_REQUIRED.desc(),
        ];
        Self { gauges, descs }
    }
}

impl Collector for GaugeCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauges.families()
    }
}
