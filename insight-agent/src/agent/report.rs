//! This node's own report: everything that it measures, cumulative since the start.
//!
//! All figures of one report are of one moment, whose uptime it carries: with the kernel half that
//! is when its maps were last read, without it the moment of the question.

mod host;
mod series;

pub(super) use host::HostTotals;
pub(super) use series::Floors;

use super::host::HostView;
use super::kernel::States;
use crate::clock::{AgentClock, second};
use crate::collect::kernel::{seeding, spec};
use crate::config::Config;
use crate::model::kernel::{KernelSnapshot, State};
use crate::model::plan::ProbePlan;
use crate::model::report::{Distribution, FLOOR_SECONDS, MeasurementReport, NodeReport, SeriesKey};
use crate::model::sample::ProbeSample;
use crate::model::series::kernel::Names;
use crate::model::status::{LossStatus, MeasurementState};
use crate::publish::metrics::Metrics;
use crate::serve::ServiceTimes;
use ring::rand::{SecureRandom, SystemRandom};
use series::{count, key, of_kernel};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Everything that this node's report is made of.
pub(super) struct OwnReport {
    node: String,
    region: String,
    epoch: AtomicU64,
    clock: AgentClock,
    service_times: ServiceTimes,
    /// Handshakes of the link probes, by series.
    links: Mutex<Series>,
    /// The last reading of the kernel's maps, with all else as of then. **None**: there is none.
    reading: Mutex<Option<Arc<Figures>>>,
    kernel_states: States,
    host: Arc<HostView>,
    kernel_enabled: bool,
    names: Names,
    metrics: Arc<Metrics>,
}

/// A part of a report.
pub(super) type Series = BTreeMap<SeriesKey, Distribution>;

/// All figures as of one moment.
struct Figures {
    at: Instant,
    kernel: Option<(KernelSnapshot, Floors)>,
    links: Series,
    host: Series,
    service_time: Distribution,
    lost: Vec<LossStatus>,
}

impl OwnReport {
    /// Nothing measured yet.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(super) fn new(
        config: &Config,
        clock: AgentClock,
        metrics: Arc<Metrics>,
        kernel_states: States,
        host: Arc<HostView>,
    ) -> Result<Self, std::io::Error> {
        Ok(Self {
            node: config.agent.name.clone(),
            region: config.agent.region.clone(),
            epoch: AtomicU64::new(epoch()?),
            clock,
            service_times: ServiceTimes::new(clock),
            links: Mutex::default(),
            reading: Mutex::default(),
            kernel_states,
            host,
            kernel_enabled: config.kernel.enabled,
            names: config.kernel_names(),
            metrics,
        })
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// The clock whose uptime reports carry.
    pub(super) fn clock(&self) -> AgentClock {
        self.clock
    }

    /// Where the receiver records how long it takes.
    pub(super) fn service_times(&self) -> &ServiceTimes {
        &self.service_times
    }

    /// Adds what a link probe measured; other samples are none of this node's figures.
    pub(super) fn record(&self, sample: &ProbeSample) {
        let Some(ends) = sample.plan.link() else { return };
        let Some(handshake) = sample.rulers.handshake.filter(|_| sample.is_measurement()) else { return };
        let ns = u64::try_from(handshake.as_nanos()).unwrap_or(u64::MAX);
        let second = second(self.clock.uptime_at(sample.finished));
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.entry(key("link_handshake", &[("to", &ends.to)])).or_default().record(ns, second);
    }

    /// Leaves out what is of other links than those of these plans. A reader takes what is missing for
    /// no handshakes.
    pub(super) fn set_plans(&self, plans: &[Arc<ProbePlan>]) {
        let ends = plans.iter().filter_map(|plan| plan.link());
        let keys: BTreeSet<_> = ends.map(|ends| key("link_handshake", &[("to", &ends.to)])).collect();
        self.links.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| keys.contains(key));
    }

    /// Keeps a reading of the kernel's maps, and how everything else stands beside it.
    pub(super) fn keep(&self, at: Instant, snapshot: KernelSnapshot, floors: Floors) {
        let figures = Arc::new(self.figures(at, Some((snapshot, floors))));
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = Some(figures);
    }

    /// Nobody reads the kernel's maps any more: their figures would stand still and look idle.
    pub(super) fn forget_kernel(&self) {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The kernel's figures begin at 0 again: to readers this is another start.
    pub(super) fn begin_anew(&self) {
        // Without random bytes another number than the last one is as good: starts are far apart.
        let last = self.epoch.load(Ordering::Relaxed);
        self.epoch.store(epoch().unwrap_or(last.wrapping_add(1).max(1)), Ordering::Relaxed);
        self.forget_kernel();
    }

    /// The report, and when its figures were read.
    pub(super) fn make(&self) -> (NodeReport, Instant) {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let figures = reading.unwrap_or_else(|| Arc::new(self.figures(Instant::now(), None)));
        let uptime = self.clock.uptime_at(figures.at);
        let mut series = figures.links.clone();
        series.extend(figures.host.clone());
        if let Some((snapshot, floors)) = &figures.kernel {
            series.extend(of_kernel(snapshot, floors, &self.names));
        }
        if figures.service_time.count > 0 {
            series.insert(key("service_time", &[]), figures.service_time.clone());
        }
        for LossStatus { measurement, loss, count: events } in &figures.lost {
            series.insert(key("lost", &[("loss", loss), ("measurement", measurement)]), count(*events));
        }
        let kept = second(uptime).saturating_sub(FLOOR_SECONDS as u32 - 1);
        for distribution in series.values_mut() {
            distribution.floors = distribution.floors.split_off(&kept);
        }
        let report = NodeReport {
            node: self.node.clone(),
            region: self.region.clone(),
            epoch: self.epoch.load(Ordering::Relaxed),
            uptime,
            series,
            measurements: self.measurements(),
            series_left_out: 0,
        };
        (report, figures.at)
    }

    fn figures(&self, at: Instant, kernel: Option<(KernelSnapshot, Floors)>) -> Figures {
        Figures {
            at,
            kernel,
            links: self.links.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            host: self.host.series(),
            service_time: self.service_times.all(),
            lost: self.metrics.lost_snapshot(),
        }
    }

    /// The states of the kernel half and of the host half.
    fn measurements(&self) -> Vec<MeasurementReport> {
        let mut all = self.kernel_measurements();
        all.extend(self.host.states().into_iter().map(|status| MeasurementReport {
            measurement: status.name,
            state: status.state,
            reason: status.reason,
        }));
        all
    }

    /// The states of the kernel half; where it is off, each measurement says so.
    fn kernel_measurements(&self) -> Vec<MeasurementReport> {
        if !self.kernel_enabled {
            let off = State::Disabled(crate::model::kernel::Reason::Off);
            let measurements = spec::ALL.iter().map(|spec| spec.measurement.name());
            return measurements
                .chain([seeding::NAME])
                .map(|name| MeasurementReport {
                    measurement: name.to_owned(),
                    state: MeasurementState::Disabled,
                    reason: off.reason().to_owned(),
                })
                .collect();
        }
        let states = self.kernel_states.lock().unwrap_or_else(PoisonError::into_inner);
        let reports = states.iter().map(|status| MeasurementReport {
            measurement: status.name.clone(),
            state: status.state,
            reason: status.reason.clone(),
        });
        reports.collect()
    }
}

/// A random number that is not 0.
fn epoch() -> Result<u64, std::io::Error> {
    let mut bytes = [0; 8];
    let random = SystemRandom::new().fill(&mut bytes);
    random.map_err(|_| std::io::Error::other("the system has no random bytes"))?;
    Ok(u64::from_ne_bytes(bytes).max(1))
}

#[cfg(test)]
mod tests;
