//! Every gauge of the exporter: what does the last complete window say?
//!
//! Gauges are not stored. A scrape takes the last published window and the last list of
//! measurements under one lock and writes the families from them. So a scrape sees one window as
//! a whole, a segment whose evidence changed leaves nothing behind, an unknown figure has no
//! series, and a window that is too old is not shown.
//!
//! A window's figures are written from where they are: in the order of their probes, which is sorted
//! once for all families, and for one probe after the other.

use super::families::{GaugeRow, Groups};
use super::registry::{Collector, Family};
use crate::model::hop::ServiceLoad;
use crate::model::ledger::{Evidence, HopHost, LedgerKind, UNEXPLAINED};
use crate::model::plan::ProbePlan;
use crate::model::reload::ConfigState;
use crate::model::series::{Series, agent, link, path, probe, service};
use crate::model::status::MeasurementStatus;
use crate::model::window::{LedgerWindow, PathWindow, ProbeWindow, Window};
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

    fn families(&self) -> Vec<Family> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut families = self.agent_families(&shown.measurements);
        families.extend(config_families(shown.config));
        families.push(ping_intervals(&shown.ping_intervals));
        if let Some(window) = shown.window.filter(|w| is_fresh(w, Instant::now())) {
            families.extend(window_families(window));
        }
        families
    }

    fn agent_families(&self, measurements: &[MeasurementStatus]) -> Vec<Family> {
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
        vec![build.into_family(), start.into_family(), length.into_family(), state.into_family()]
    }
}

fn ping_intervals(of: &[(Arc<ProbePlan>, Duration)]) -> Family {
    let mut family = PING_INTERVAL.family();
    for (plan, interval) in of {
        family.put([&plan.source, &plan.target, &plan.name], Some(interval.as_secs_f64()));
    }
    family.into_family()
}

fn config_families(config: ConfigState) -> [Family; 3] {
    let single = |row: GaugeRow<0>, value: Option<f64>| {
        let mut family = row.family();
        family.put([], value);
        family.into_family()
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

/// A window, and the order in which its figures are written.
struct Ordered {
    window: Arc<Window>,
    /// Of its probes, by source, target and name.
    probes: Vec<u32>,
    /// Its paths' ledgers, each by its path and its place there; by source, target and probe.
    ledgers: Vec<[u32; 2]>,
}

impl Ordered {
    fn of(window: Arc<Window>) -> Self {
        // There are not as many probes as a u32 counts.
        let mut probes: Vec<u32> = (0..).take(window.probes.len()).collect();
        probes.sort_by_key(|at| probe_key(&window.probes[*at as usize]));
        let ledgers = (0..).zip(&window.paths).flat_map(|(path, PathWindow { ledgers, .. })| {
            (0..).take(ledgers.len()).map(move |ledger: u32| [path, ledger])
        });
        let mut ledgers: Vec<[u32; 2]> = ledgers.collect();
        ledgers.sort_by_key(|at| ledger_key(ledger_at(&window, *at)));
        Self { window, probes, ledgers }
    }

    /// Writes something of each probe. Its labels begin with those of the probe.
    fn each_probe<'a, const N: usize>(
        &'a self,
        groups: &mut Groups<'a, '_, '_, '_, N>,
        put: impl Fn(&mut Groups<'a, '_, '_, '_, N>, &'a ProbeWindow),
    ) {
        let probes = self.probes.iter().map(|at| &self.window.probes[*at as usize]);
        each(groups, probes, |probe| probe_key(probe), put);
    }

    /// Writes something of each ledger. Its labels begin with those of the ledger's probe.
    fn each_ledger<'a, const N: usize>(
        &'a self,
        groups: &mut Groups<'a, '_, '_, '_, N>,
        put: impl Fn(&mut Groups<'a, '_, '_, '_, N>, (&'a PathWindow, &'a LedgerWindow)),
    ) {
        let ledgers = self.ledgers.iter().map(|at| ledger_at(&self.window, *at));
        each(groups, ledgers, |of| ledger_key(*of), put);
    }
}

/// What has the same key is one group.
fn each<'a, 'l, 't, 'g, const N: usize, T>(
    groups: &mut Groups<'a, 'l, 't, 'g, N>,
    items: impl Iterator<Item = T>,
    key: impl Fn(&T) -> [&'a str; 3],
    put: impl Fn(&mut Groups<'a, 'l, 't, 'g, N>, T),
) {
    let mut last = None;
    for item in items {
        let key = key(&item);
        if last.replace(key).is_some_and(|last| last != key) {
            groups.end();
        }
        put(groups, item);
    }
    groups.end();
}

fn probe_key(probe: &ProbeWindow) -> [&str; 3] {
    [&probe.plan.source, &probe.plan.target, &probe.plan.name]
}

fn ledger_at(window: &Window, [path, ledger]: [u32; 2]) -> (&PathWindow, &LedgerWindow) {
    let path = &window.paths[path as usize];
    (path, &path.ledgers[ledger as usize])
}

fn ledger_key<'a>((path, ledger): (&'a PathWindow, &'a LedgerWindow)) -> [&'a str; 3] {
    [&path.source, &path.target, &ledger.probe]
}

fn window_families(window: Arc<Window>) -> Vec<Family> {
    let of = Arc::new(Ordered::of(window));
    let mut families = Vec::from(ledger_families(&of));
    families.extend(hop_families(&of));
    families.extend(service_families(&of));
    families.extend([
        CROSS_REGION_LATENCY.grouped(Arc::clone(&of), |of, groups| {
            for path in &of.window.paths {
                let ms = path.cross_region_latency.map(|d| d.as_secs_f64() * 1e3);
                groups.put([&path.source, &path.target], ms);
            }
        }),
        SUCCESS_RATIO.grouped(Arc::clone(&of), |of, groups| {
            of.each_probe(groups, |groups, window| {
                let [source, target, probe] = probe_key(window);
                let [mode, connection] = [window.plan.mode.as_str(), window.connection.as_str()];
                groups.put([source, target, probe, mode, connection], window.success_ratio());
            });
        }),
        RULER.grouped(Arc::clone(&of), |of, groups| {
            of.each_probe(groups, |groups, window| {
                put_each(groups, window, probe::RULERS.into_iter().zip(window.rulers));
            });
        }),
        // Ordered by the link and not by its probe: links are few.
        LINK_FLOOR.grouped(of, |of, groups| {
            of.window.probes.iter().for_each(|probe| put_link(groups, probe));
        }),
    ]);
    families
}

/// Figures of one probe, by their names.
fn put_each<'a>(
    groups: &mut Groups<'a, '_, '_, '_, 5>,
    window: &'a ProbeWindow,
    figures: impl IntoIterator<Item = (&'a str, Option<f64>)>,
) {
    let [source, target, probe] = probe_key(window);
    for (name, figure) in figures {
        groups.put([source, target, probe, window.connection.as_str(), name], figure);
    }
}

fn put_link<'a>(groups: &mut Groups<'a, '_, '_, '_, 3>, window: &'a ProbeWindow) {
    let Some(ends) = window.plan.link() else { return };
    for (name, seconds) in probe::RULERS.into_iter().zip(window.floors) {
        // Its handshakes come from one window, its PINGs from another: each has only its own.
        if link::LINK_RULERS.contains(&name) && seconds.is_some() {
            groups.put([&ends.from, &ends.to, name], seconds);
        }
    }
}

/// What the services say of themselves.
fn service_families(of: &Arc<Ordered>) -> [Family; 4] {
    [
        SERVICE_TIME.grouped(Arc::clone(of), |of, groups| {
            of.each_probe(groups, |groups, window| {
                put_each(groups, window, service::TIMES.into_iter().zip(window.service.times));
            });
        }),
        SERVICE_LOAD_RATIO.grouped(Arc::clone(of), |of, groups| {
            of.each_probe(groups, |groups, window| {
                put_each(groups, window, ServiceLoad::RATIOS.into_iter().zip(window.service.ratios));
            });
        }),
        SERVICE_LOAD_RATE.grouped(Arc::clone(of), |of, groups| {
            of.each_probe(groups, |groups, window| {
                put_each(groups, window, ServiceLoad::RATES.into_iter().zip(window.service.rates));
            });
        }),
        SERVICE_LOAD_METRIC.grouped(Arc::clone(of), |of, groups| {
            of.each_probe(groups, |groups, window| {
                let named = window.service.named.iter();
                put_each(groups, window, named.map(|(name, figure)| (name.as_str(), Some(*figure))));
            });
        }),
    ]
}

/// A hop is on the paths of several probes; its host is the same for all of them.
fn hop_families(of: &Arc<Ordered>) -> [Family; 3] {
    let family = |row: GaugeRow<3>, ratio: fn(HopHost) -> Option<f64>| {
        row.grouped(Arc::clone(of), move |of, groups| {
            for path in &of.window.paths {
                let segments = path.ledgers.iter().flat_map(|ledger| &ledger.segments);
                let hosts = segments
                    .filter_map(|segment| Some((segment.name.strip_prefix("hop:")?, segment.host?)))
                    .collect::<BTreeMap<_, _>>();
                for (hop, host) in hosts {
                    groups.put([&path.source, &path.target, hop], ratio(host));
                }
            }
        })
    };
    [
        family(HOP_BUSY, |host| host.busy_ratio),
        family(HOP_THROTTLED, |host| host.throttled_ratio),
        family(HOP_RUN_DELAY, |host| host.run_delay_ratio),
    ]
}

fn ledger_families(of: &Arc<Ordered>) -> [Family; 5] {
    [
        LEDGER.grouped(Arc::clone(of), |of, groups| {
            of.each_ledger(groups, |groups, (path, ledger)| {
                if !was_looked_for(ledger) {
                    return;
                }
                let [source, target, probe] = ledger_key((path, ledger));
                let kind = ledger.kind.as_str();
                let mut put = |segment, evidence: Evidence, mean| {
                    groups.put([source, target, probe, kind, segment, evidence.as_str()], mean);
                };
                for segment in &ledger.segments {
                    if let Some(evidence) = segment.evidence {
                        put(segment.name.as_str(), evidence, segment.mean);
                    }
                }
                put(UNEXPLAINED, Evidence::Difference, ledger.unexplained);
            });
        }),
        LEDGER_SAMPLES.grouped(Arc::clone(of), |of, groups| {
            of.each_ledger(groups, |groups, (path, ledger)| {
                if !was_looked_for(ledger) {
                    return;
                }
                let [source, target, probe] = ledger_key((path, ledger));
                let kind = ledger.kind.as_str();
                // A count of 0 is a figure: somebody looked, and this segment stayed silent.
                let counts = ledger.segments.iter().map(|segment| (segment.name.as_str(), segment.count));
                for (segment, count) in counts.chain([(UNEXPLAINED, ledger.count)]) {
                    groups.put([source, target, probe, kind, segment], Some(count as f64));
                }
            });
        }),
        LEDGER_END_TO_END.grouped(Arc::clone(of), |of, groups| {
            of.each_ledger(groups, |groups, (path, ledger)| {
                let [source, target, probe] = ledger_key((path, ledger));
                groups.put([source, target, probe, ledger.kind.as_str()], ledger.end_to_end);
            });
        }),
        LEDGER_RESIDUAL.grouped(Arc::clone(of), |of, groups| {
            of.each_ledger(groups, |groups, (path, ledger)| {
                groups.put(ledger_key((path, ledger)), ledger.residual);
            });
        }),
        LEDGER_AGE.grouped(Arc::clone(of), |of, groups| {
            of.each_ledger(groups, |groups, (path, ledger)| {
                if ledger.kind != LedgerKind::Window {
                    return;
                }
                let [source, target, probe] = ledger_key((path, ledger));
                for segment in &ledger.segments {
                    let age = segment.age.map(|age| age.as_secs_f64());
                    groups.put([source, target, probe, &segment.name], age);
                }
            });
        }),
    ]
}

/// Without a request of its own, nobody looked for evidence, so that there was none is not
/// known. What the nodes measured stands without any.
fn was_looked_for(ledger: &LedgerWindow) -> bool {
    ledger.count != 0 || ledger.kind != LedgerKind::Probe
}

// ---- the registry's view --------------------------------------------------------------------

/// The registry's handle on [`Gauges`].
pub(super) struct GaugeCollector(pub(super) Arc<Gauges>);

impl Collector for GaugeCollector {
    fn rows(&self) -> Vec<&'static Series> {
        vec![
            CROSS_REGION_LATENCY.row(),
            LEDGER.row(),
            LEDGER_SAMPLES.row(),
            LEDGER_END_TO_END.row(),
            LEDGER_RESIDUAL.row(),
            LEDGER_AGE.row(),
            HOP_BUSY.row(),
            HOP_THROTTLED.row(),
            HOP_RUN_DELAY.row(),
            SUCCESS_RATIO.row(),
            PING_INTERVAL.row(),
            RULER.row(),
            SERVICE_TIME.row(),
            SERVICE_LOAD_RATIO.row(),
            SERVICE_LOAD_RATE.row(),
            SERVICE_LOAD_METRIC.row(),
            LINK_FLOOR.row(),
            BUILD_INFO.row(),
            MEASUREMENT_STATE.row(),
            START_TIME.row(),
            WINDOW.row(),
            RELOAD_SUCCESSFUL.row(),
            RELOAD_SUCCESS_TIME.row(),
            RESTART_REQUIRED.row(),
        ]
    }

    fn collect(&self) -> Vec<Family> {
        self.0.families()
    }
}
