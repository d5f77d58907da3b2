//! The task in which everything that was measured comes together, window by window.

use super::host::HostView;
use super::kernel::States;
use super::nodes::NodeBoard;
use super::status::Board;
use crate::correlate::measurements::measurement_states;
use crate::correlate::nodes::NodeWindows;
use crate::correlate::window::{Aggregator, fresh_for};
use crate::model::region::NodeEvent;
use crate::model::sample::ProbeEvent;
use crate::model::series::lost::Loss;
use crate::publish::metrics::Metrics;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

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
}

impl Correlator {
    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<ProbeEvent>,
        mut node_events: mpsc::Receiver<NodeEvent>,
    ) {
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
            }
        }
    }

    fn record(&mut self, event: ProbeEvent) {
        match event {
            ProbeEvent::Sample(sample) => {
                tracing::debug!(
                    probe = sample.plan.name,
                    connection = sample.connection.as_str(),
                    outcome = ?sample.outcome,
                    total = ?sample.total(),
                    "sample"
                );
                self.metrics.observe(&sample);
                self.board.record(&sample);
                self.node_board.own().record(&sample);
                let unknown = self.aggregator.record(&sample);
                if unknown > 0 {
                    self.metrics.lost("hop_headers", Loss::UnknownHop, u64::from(unknown));
                }
            }
            ProbeEvent::Skipped(plan, connection) => {
                self.metrics.skip(&plan, connection);
                self.board.skip(&plan, connection);
            }
            ProbeEvent::Lost(measurement, loss) => self.metrics.lost(measurement, loss, 1),
        }
    }

    fn take(&mut self, event: NodeEvent) {
        self.node_board.take(&event);
        self.update(event);
    }

    fn update(&mut self, event: NodeEvent) {
        if let Some(loss) = self.nodes.take(event) {
            self.metrics.lost("report", loss, 1);
        }
    }

    fn end_window(&mut self) {
        let now = Instant::now();
        self.update(self.node_board.own_event());
        let window = self.aggregator.rotate(now, &self.nodes);
        let mut states = measurement_states(self.board.node(), Some(&window), self.board.is_probing());
        let kernel = self.kernel_states.lock().unwrap_or_else(PoisonError::into_inner);
        states.extend(kernel.iter().cloned());
        drop(kernel);
        states.extend(self.host.states());
        states.extend(self.nodes.states(self.board.node(), now, fresh_for(window.length)));
        states.sort_by(|a, b| (&a.node, &a.name).cmp(&(&b.node, &b.name)));
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
