//! What did the last few seconds hold? Samples go in, one [`Window`] comes out each time.

mod ledgers;
mod path;
mod service;

#[cfg(test)]
mod tests;

use crate::correlate::by_probe::ByProbe;
use crate::correlate::nodes::NodeWindows;
use crate::correlate::window_ledger::window_ledger;
use crate::model::dial::IpVersion;
use crate::model::plan::{Connection, LinkEnds, Mode, ProbePlan};
use crate::model::sample::ProbeSample;
use crate::model::window::{ProbeWindow, Window};
use ledgers::LedgerSums;
use path::PathLatencies;
use service::ServiceSums;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How old a handshake may be that stands for the first link. Routes change within minutes; with
/// half of it, a fresh probe every 30 s would leave the first link unknown half of the time.
const HANDSHAKE_MAX_AGE: Duration = Duration::from_secs(60);

/// For how long after its end a window of a node is used: polls come once a window, and those of
/// another region bring what is up to one window older. With two windows a late poll would cost an
/// entry; with more, a node that has died would go on speaking for longer. Where windows are short,
/// what counts is how late a poll of a busy node comes: seconds.
pub fn fresh_for(window: Duration) -> Duration {
    (window * 3).max(Duration::from_secs(5))
}

/// Collects samples until the window is complete.
#[derive(Debug)]
pub struct Aggregator {
    plans: Vec<Arc<ProbePlan>>,
    began: Instant,
    probes: ByProbe<ProbeSums>,
    latencies: PathLatencies,
    ledgers: HashMap<String, LedgerSums>,
    /// Route name and version of IP → the last handshake along it. Outlives windows.
    handshakes: HashMap<(String, IpVersion), Handshake>,
    /// The last handshake of each link probe. Outlives windows.
    links: HashMap<LinkEnds, Handshake>,
}

#[derive(Debug, Clone, Copy)]
struct Handshake {
    round_trip: Duration,
    measured: Instant,
}

#[derive(Debug, Default)]
struct ProbeSums {
    ended: u64,
    good: u64,
    /// Sum of seconds and count, per phase.
    phases: [(f64, u64); 7],
    /// Seconds, per ruler.
    rulers: [Vec<f64>; 4],
    service: ServiceSums,
}

impl Aggregator {
    /// An empty window that begins now.
    pub fn new(plans: Vec<Arc<ProbePlan>>, began: Instant) -> Self {
        Self {
            plans,
            began,
            probes: ByProbe::default(),
            latencies: PathLatencies::default(),
            ledgers: HashMap::new(),
            handshakes: HashMap::new(),
            links: HashMap::new(),
        }
    }

    /// Takes other plans from now on. What the window holds of a plan that stays (the same `Arc`) stays;
    /// what it holds of all others goes, since it would be mixed with figures of another path.
    pub fn set_plans(&mut self, plans: Vec<Arc<ProbePlan>>) {
        let old: HashSet<_> = self.plans.iter().map(Arc::as_ptr).collect();
        let kept: Vec<_> = plans.iter().filter(|plan| old.contains(&Arc::as_ptr(plan))).collect();
        let names: HashSet<_> = kept.iter().map(|plan| plan.name.as_str()).collect();
        let routes: HashSet<_> = kept.iter().map(|plan| along(plan)).collect();
        let links: HashSet<_> = kept.iter().filter_map(|plan| plan.link()).collect();
        self.probes.retain(|name, _, _| names.contains(name));
        self.ledgers.retain(|name, _| names.contains(name.as_str()));
        self.handshakes.retain(|along, _| routes.contains(along));
        self.links.retain(|ends, _| links.contains(ends));
        self.latencies.retain(&names);
        self.plans = plans;
    }

    /// Adds one sample. Returns how many hops it named that are not on its route: they are left
    /// out, so that what a response says can never become a label.
    pub fn record(&mut self, sample: &ProbeSample) -> u32 {
        let plan = &sample.plan;
        if let Some(round_trip) = sample.rulers.handshake {
            let handshake = Handshake { round_trip, measured: sample.finished };
            // A link probe knows the ends of what it measures; whether that is the first link of
            // a route, its ends say, and not the route that lent it an address.
            match plan.link() {
                Some(ends) => self.links.insert(ends.clone(), handshake),
                None => self.handshakes.insert(along(plan), handshake),
            };
        }
        if sample.is_voided() {
            return 0;
        }
        self.probes.entry(&plan.name, sample.connection).add(sample);
        // How long a stream lasts is its service's business, and no latency of the path.
        let is_stream = sample.answer.stream.is_some();
        if !sample.is_measurement() || is_stream || !carries_path(plan, sample.connection) {
            return 0;
        }
        self.latencies.add(sample);
        let first_link = self.first_link(sample);
        if !self.ledgers.contains_key(&plan.name) {
            self.ledgers.insert(plan.name.clone(), LedgerSums::new(plan));
        }
        self.ledgers.get_mut(&plan.name).map_or(0, |sums| sums.add(sample, first_link))
    }

    /// The latest handshake over the first link of a sample's path, by a fresh probe along the same
    /// route or by a link probe with the same ends. **None**: there is none that is young enough.
    fn first_link(&self, sample: &ProbeSample) -> Option<Duration> {
        let route = &sample.plan.route;
        let probed = route
            .hops
            .first()
            .and_then(|hop| self.links.get(&LinkEnds { from: route.origin.clone(), to: hop.clone() }));
        let latest =
            self.handshakes.get(&along(&sample.plan)).into_iter().chain(probed).max_by_key(|h| h.measured)?;
        let age = sample.finished.saturating_duration_since(latest.measured);
        (age <= HANDSHAKE_MAX_AGE).then_some(latest.round_trip)
    }

    /// Ends the window and begins the next one. `nodes` gives the second ledger of each path.
    pub fn rotate(&mut self, now: Instant, nodes: &NodeWindows) -> Window {
        let mut sums = std::mem::take(&mut self.probes);
        let mut probes = Vec::with_capacity(self.plans.iter().map(|plan| plan.connections.len()).sum());
        for plan in &self.plans {
            for connection in &plan.connections {
                let sums = sums.remove(&plan.name, *connection).unwrap_or_default();
                probes.push(sums.finish(plan, *connection));
            }
        }
        let mut ledgers = std::mem::take(&mut self.ledgers);
        let length = now.saturating_duration_since(self.began);
        let paths = std::mem::take(&mut self.latencies).finish(&self.plans, |plan| {
            let sums = ledgers.remove(&plan.name).unwrap_or_else(|| LedgerSums::new(plan));
            if plan.mode != Mode::WhiteBox {
                // Nobody promised that this service tells its time: without it there is no ledger,
                // and not one without figures.
                return Vec::from_iter(Some(sums.finish(&plan.name)).filter(|ledger| ledger.count > 0));
            }
            let of_nodes = window_ledger(plan, &sums.prober(), nodes, now, fresh_for(length));
            [sums.finish(&plan.name)].into_iter().chain(of_nodes).collect()
        });
        self.began = now;
        Window { ended: now, length, paths, probes }
    }
}

/// What handshakes have in common: the first link over one version of IP.
fn along(plan: &ProbePlan) -> (String, IpVersion) {
    (plan.route.name.clone(), plan.route.dial.ip)
}

/// Whether a probe's samples on this connection stand for the latency of its path: bandwidth and
/// handshakes play no part in them.
fn carries_path(plan: &ProbePlan, connection: Connection) -> bool {
    connection == Connection::Reused && plan.mode != Mode::Link && plan.is_small_payload()
}

impl ProbeSums {
    fn add(&mut self, sample: &ProbeSample) {
        self.ended += 1;
        let rulers = &sample.rulers;
        for (values, value) in
            self.rulers.iter_mut().zip([rulers.handshake, rulers.ack, rulers.ack_min, rulers.ping])
        {
            values.extend(value.map(|value| value.as_secs_f64()));
        }
        if sample.is_measurement() {
            self.good += 1;
            self.service.add(&sample.hops);
            for (sum, (_, phase)) in self.phases.iter_mut().zip(sample.phases.named()) {
                if let Some(phase) = phase {
                    sum.0 += phase.as_secs_f64();
                    sum.1 += 1;
                }
            }
        }
    }

    fn finish(mut self, plan: &Arc<ProbePlan>, connection: Connection) -> ProbeWindow {
        ProbeWindow {
            plan: Arc::clone(plan),
            connection,
            ended: self.ended,
            good: self.good,
            phases: self.phases.map(|(sum, count)| (count > 0).then(|| sum / count as f64)),
            rulers: self.rulers.each_mut().map(|values| median(values)),
            service: self.service.finish(),
            // `median` has just sorted them.
            floors: self.rulers.each_ref().map(|values| values.first().copied()),
        }
    }
}

/// The median (mean of the middle two). **None** of nothing.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}
