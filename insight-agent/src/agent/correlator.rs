//! The task in which everything that was measured comes together, window by window.

use super::changes::{Handed, Known};
use super::host::HostView;
use super::kernel::States;
use super::nodes::NodeBoard;
use super::status::Board;
use crate::correlate::measurements::measurement_states;
use crate::correlate::nodes::NodeWindows;
use crate::correlate::window::{Aggregator, fresh_for};
use crate::model::plan::{Connection, ProbePlan};
use crate::model::region::NodeEvent;
use crate::model::sample::ProbeEvent;
use crate::model::series::lost::Loss;
use crate::model::status::MeasurementStatus;
use crate::model::window::Window;
use crate::publish::metrics::Metrics;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Every plan by its probe's name.
pub(super) type ByName = HashMap<String, Arc<ProbePlan>>;

fn named(plans: &[Arc<ProbePlan>]) -> ByName {
    plans.iter().map(|plan| (plan.name.clone(), Arc::clone(plan))).collect()
}

/// Turns events into windows. Ends when the prober has gone.
pub(super) struct Correlator {
    pub(super) aggregator: Aggregator,
    pub(super) nodes: NodeWindows,
    pub(super) metrics: Arc<Metrics>,
    pub(super) board: Arc<Board>,
    pub(super) node_board: Arc<NodeBoard>,
    pub(super) window: Duration,
    pub(super) kernel_states: States,
    pub(super) host: Arc<HostView>,
    pub(super) known: Known,
    /// The same plans; filled by [`Self::run`].
    pub(super) by_name: ByName,
}

impl Correlator {
    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<ProbeEvent>,
        mut node_events: mpsc::Receiver<NodeEvent>,
        mut changes: mpsc::Receiver<Handed<Known>>,
    ) {
        self.by_name = named(&self.known.plans);
        let first = tokio::time::Instant::now() + self.window;
        let mut ends = tokio::time::interval_at(first, self.window);
        // After a pause, one longer window and not several empty ones.
        ends.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.record(event),
                    None => return,
                },
                // Without other agents to ask, nobody sends.
                Some(event) = node_events.recv() => self.take(event),
                _ = ends.tick() => self.end_window(),
                Some((known, done)) = changes.recv() => {
                    self.change(known);
                    // Whoever asked may have given up waiting.
                    let _ = done.send(());
                }
            }
        }
    }

    /// Counts for other probes and nodes from now on. What is of none of them is gone from everything that
    /// is shown.
    fn change(&mut self, known: Known) {
        let Known { plans, places } = &known;
        self.by_name = named(plans);
        self.aggregator.set_plans(plans.clone());
        self.metrics.set_plans(plans);
        let window = self.board.set_plans(plans);
        self.node_board.own().set_plans(plans);
        self.node_board.set_nodes(&places.nodes);
        self.nodes.retain(|region, node| places.knows(region, node));
        let states = self.states(window.as_deref(), Instant::now());
        self.metrics.publish_measurements(&states);
        self.board.show_states(states);
        self.known = known;
    }

    /// Whether a probe is one of those that count, or was one with the same series: the last samples of
    /// one that has been replaced are still coming.
    fn counts(&self, plan: &ProbePlan, connection: Connection) -> bool {
        self.by_name.get(&plan.name).is_some_and(|known| known.shares_series(plan, connection))
    }

    fn record(&mut self, event: ProbeEvent) {
        match event {
            // Of a probe that has been retired since.
            ProbeEvent::Sample(sample) if !self.counts(&sample.plan, sample.connection) => {}
            ProbeEvent::Skipped(plan, connection) if !self.counts(&plan, connection) => {}
            ProbeEvent::Sample(sample) => {
                tracing::debug!(
                    probe = sample.plan.name,
                    connection = sample.connection.as_str(),
                    outcome = ?sample.outcome,
                    total = ?sample.total(),
                    took = ?sample.took,
                    "sample"
                );
                self.metrics.observe(&sample);
                self.board.record(&sample);
                self.node_board.own().record(&sample);
                let known = self.by_name.get(&sample.plan.name);
                if !known.is_some_and(|known| Arc::ptr_eq(known, &sample.plan)) {
                    // Means and medians are of one path: these are of the one before.
                    return;
                }
                let unknown = self.aggregator.record(&sample);
                if unknown > 0 {
                    self.metrics.lost("hop_headers", Loss::UnknownHop, u64::from(unknown));
                }
            }
            ProbeEvent::Skipped(plan, connection) => {
                self.metrics.skip(&plan, connection);
                self.board.skip(&plan, connection);
            }
            ProbeEvent::Connection(plan, connection, event, count) => {
                if self.counts(&plan, connection) {
                    self.metrics.connection_event(&plan, connection, event, count);
                }
            }
            ProbeEvent::PingInterval(plan, interval) => {
                let known = self.by_name.get(&plan.name);
                if known.is_some_and(|known| Arc::ptr_eq(known, &plan)) {
                    self.metrics.ping_interval(&plan, interval);
                }
            }
            ProbeEvent::Certificates(plan, certificates) => {
                let known = self.by_name.get(&plan.name);
                if known.is_some_and(|known| Arc::ptr_eq(known, &plan)) {
                    self.metrics.certificates(&plan, certificates);
                    self.board.certificates(&plan, certificates);
                }
            }
            ProbeEvent::Burst(plan, burst) => {
                let known = self.by_name.get(&plan.name);
                if known.is_some_and(|known| Arc::ptr_eq(known, &plan)) {
                    self.metrics.burst(&plan, &burst);
                    self.board.burst(&plan, *burst);
                }
            }
            ProbeEvent::Health(plan, event) => {
                let known = self.by_name.get(&plan.name);
                if known.is_some_and(|known| Arc::ptr_eq(known, &plan)) {
                    tracing::info!(probe = plan.name, event = ?event, "health");
                    self.metrics.health(&plan, &event);
                    self.board.health(&plan, &event);
                }
            }
            ProbeEvent::Lost(measurement, loss) => self.metrics.lost(measurement, loss, 1),
        }
    }

    fn take(&mut self, event: NodeEvent) {
        if !self.known.places.know(&event) {
            // Asked before the question was given up.
            return;
        }
        self.node_board.take(&event);
        self.update(event);
    }

    fn update(&mut self, event: NodeEvent) {
        if let Some(loss) = self.nodes.take(event) {
            self.metrics.lost("report", loss, 1);
        }
    }

    /// Of all measurements, ordered. **`window`**: the last one, if there was any.
    fn states(&self, window: Option<&Window>, now: Instant) -> Vec<MeasurementStatus> {
        let mut states = measurement_states(self.board.node(), window, self.board.is_probing());
        let kernel = self.kernel_states.lock().unwrap_or_else(PoisonError::into_inner);
        states.extend(kernel.iter().cloned());
        drop(kernel);
        states.extend(self.host.states());
        let length = window.map_or(self.window, |window| window.length);
        states.extend(self.nodes.states(self.board.node(), now, fresh_for(length)));
        states.sort_by(|a, b| (&a.node, &a.name).cmp(&(&b.node, &b.name)));
        states
    }

    fn end_window(&mut self) {
        let now = Instant::now();
        self.update(self.node_board.own_event());
        let window = Arc::new(self.aggregator.rotate(now, &self.nodes));
        let states = self.states(Some(&window), now);
        for ledger in window.paths.iter().flat_map(|path| &path.ledgers).filter(|l| l.other_shape > 0) {
            self.metrics.lost("hop_headers", Loss::OtherShape, ledger.other_shape);
        }
        for refused in window.paths.iter().flat_map(|path| &path.ledgers).flat_map(|ledger| &ledger.refused) {
            self.metrics.lost("window_ledger", *refused, 1);
        }
        self.metrics.publish_window(&window);
        self.metrics.publish_measurements(&states);
        self.board.show(window, states);
    }
}
