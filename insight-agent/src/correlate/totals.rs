//! What became of every probe since the start: the counters behind the status page.

use super::by_probe::ByProbe;
use super::quantiles::Quantiles;
use crate::model::burst::Burst;
use crate::model::certificate::Certificates;
use crate::model::health::{HealthEvent, ServingState};
use crate::model::plan::{Connection, ProbePlan};
use crate::model::sample::{Outcome, Phases, ProbeSample};
use crate::model::series::probe::RULERS;
use crate::model::status::{
    BurstStatus, CertificateStatus, HealthStatus, LastFailure, LatencyStatus, PhaseStatus, ProbeStatus,
    RulerStatus, SlotStatus, StreamStatus,
};
use crate::model::window::ProbeWindow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Totals of all probes. Bounded by the number of configured probes.
#[derive(Debug, Default)]
pub struct Totals {
    probes: ByProbe<ProbeTotals>,
    /// When the certificates of each probe's connections end.
    certificates: HashMap<String, (Arc<ProbePlan>, Certificates)>,
}

#[derive(Debug, Default)]
struct ProbeTotals {
    /// The plan of the first of them. **None**: there is none yet.
    of: Option<Arc<ProbePlan>>,
    sent: u64,
    ok: u64,
    late: u64,
    voided: u64,
    skipped: u64,
    failures: BTreeMap<String, u64>,
    last_failure: Option<(LastFailure, Instant)>,
    latency: Quantiles,
    /// Of several reused connections; empty where there is one.
    slots: Vec<SlotTotals>,
    stream: Option<StreamStatus>,
    health: Option<Heard>,
    /// The last one.
    burst: Option<Box<Burst>>,
}

/// What became of the samples on one of several reused connections.
#[derive(Debug, Default, Clone)]
struct SlotTotals {
    sent: u64,
    ok: u64,
    failed: u64,
    opened: u64,
    /// Of measurements.
    latency: Duration,
    measured: u32,
    last_failure: Option<(LastFailure, Instant)>,
}

/// What a health watch has heard.
#[derive(Debug)]
struct Heard {
    /// The state that was told last, also before the stream broke.
    last: Option<ServingState>,
    status: HealthStatus,
    since: Instant,
}

impl Totals {
    /// Counts a sample that ended.
    pub fn record(&mut self, sample: &ProbeSample) {
        let totals = self.entry(&sample.plan, sample.connection);
        totals.sent += 1;
        match &sample.outcome {
            Outcome::Ok => totals.ok += 1,
            Outcome::Late => {
                totals.ok += 1;
                totals.late += 1;
            }
            Outcome::Voided(_) => totals.voided += 1,
            Outcome::Failed(failure) => {
                let class = failure.class.as_str();
                *totals.failures.entry(class.to_owned()).or_default() += 1;
                let text = LastFailure {
                    status: failure.status.as_str().to_owned(),
                    class: class.to_owned(),
                    phase: failure.phase.as_str().to_owned(),
                    took_seconds: sample.took.as_secs_f64(),
                    detail: failure.detail.clone(),
                    age_seconds: 0.0,
                };
                totals.last_failure = Some((text, sample.finished));
            }
        }
        if let Some(slot) = sample.slot {
            totals.record_slot(usize::from(slot), sample);
        }
        if let Some(timing) = &sample.answer.stream {
            let stream = totals.stream.get_or_insert_default();
            stream.messages += timing.messages;
            if sample.is_measurement() {
                stream.first_message_seconds = timing.first_message.map(|first| first.as_secs_f64());
                stream.largest_gap_seconds = timing.largest_gap.map(|gap| gap.as_secs_f64());
            }
        }
        if let Some(total) = sample.total().filter(|_| sample.is_measurement()) {
            totals.latency.record(u64::try_from(total.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Notes when the certificates of a probe's connections end.
    pub fn certificates(&mut self, plan: &Arc<ProbePlan>, certificates: Certificates) {
        self.certificates.insert(plan.name.clone(), (Arc::clone(plan), certificates));
    }

    /// Takes a closer look that has ended.
    pub fn burst(&mut self, plan: &Arc<ProbePlan>, burst: Burst) {
        self.entry(plan, Connection::Reused).burst = Some(Box::new(burst));
    }

    /// Takes what a health watch was told at `now`, or that it is told nothing any more.
    pub fn health(&mut self, plan: &Arc<ProbePlan>, event: &HealthEvent, now: Instant) {
        let heard = self.entry(plan, Connection::Reused).health.get_or_insert_with(|| Heard {
            last: None,
            status: HealthStatus::default(),
            since: now,
        });
        let state = match event {
            HealthEvent::Told(state) => {
                heard.status.changes += u64::from(heard.last.is_some_and(|last| last != *state));
                heard.last = Some(*state);
                Some(*state)
            }
            HealthEvent::Broken(failure) => {
                *heard.status.breaks.entry(failure.class.as_str().to_owned()).or_default() += 1;
                heard.status.last_break = Some(failure.detail.clone());
                None
            }
        };
        if heard.status.state != state {
            heard.since = now;
        }
        heard.status.state = state;
    }

    /// Counts a scheduled sample that was never started.
    pub fn skip(&mut self, plan: &Arc<ProbePlan>, connection: Connection) {
        self.entry(plan, connection).skipped += 1;
    }

    /// Forgets what is of none of these plans. A plan that shares its series with one before goes on counting.
    pub fn set_plans(&mut self, plans: &[Arc<ProbePlan>]) {
        let plans: HashMap<_, _> = plans.iter().map(|plan| (plan.name.as_str(), plan)).collect();
        self.probes.retain(|name, connection, totals| {
            let of = totals.of.as_ref();
            plans.get(name).zip(of).is_some_and(|(plan, of)| plan.shares_series(of, connection))
        });
        for (name, totals) in self.probes.iter_mut() {
            let slots = plans.get(name).map_or(0, |plan| plan.slots);
            totals.slots.truncate(if slots > 1 { slots } else { 0 });
        }
        self.certificates
            .retain(|name, (of, _)| plans.get(name.as_str()).is_some_and(|plan| Arc::ptr_eq(plan, of)));
    }

    /// The status of one probe; phases come from its last complete window.
    pub fn status(&self, window: &ProbeWindow, now: Instant) -> ProbeStatus {
        let plan = &window.plan;
        let empty = ProbeTotals::default();
        let totals = self.probes.get(&plan.name, window.connection).unwrap_or(&empty);
        ProbeStatus {
            probe: plan.name.clone(),
            source: plan.source.clone(),
            target: plan.target.clone(),
            mode: plan.mode.as_str().to_owned(),
            connection: window.connection.as_str().to_owned(),
            address: plan.route.address(),
            sent: totals.sent,
            ok: totals.ok,
            late: totals.late,
            voided: totals.voided,
            skipped: totals.skipped,
            failures: totals.failures.clone(),
            last_failure: aged(totals.last_failure.as_ref(), now),
            latency: latency(&totals.latency),
            phases: Phases::NAMES
                .into_iter()
                .zip(window.phases)
                .map(|(phase, seconds)| PhaseStatus { phase: phase.to_owned(), seconds })
                .collect(),
            rulers: rulers(window),
            slots: totals.slots.iter().zip(0..).map(|(slot, number)| slot.status(number, now)).collect(),
            certificates: self.certificate_status(&plan.name),
            stream: totals.stream.clone(),
            burst: totals.burst.as_ref().map(|burst| burst_status(burst, now)),
            health: totals.health.as_ref().map(|heard| HealthStatus {
                age_seconds: now.saturating_duration_since(heard.since).as_secs_f64(),
                ..heard.status.clone()
            }),
        }
    }

    fn certificate_status(&self, name: &str) -> Vec<CertificateStatus> {
        let named = self.certificates.get(name).map(|(_, certificates)| certificates.named());
        let known = named.into_iter().flatten().filter_map(|(kind, end)| Some((kind, end?)));
        known
            .map(|(kind, expiry_seconds)| CertificateStatus { certificate: kind.to_owned(), expiry_seconds })
            .collect()
    }

    fn entry(&mut self, plan: &Arc<ProbePlan>, connection: Connection) -> &mut ProbeTotals {
        let totals = self.probes.entry(&plan.name, connection);
        totals.of.get_or_insert_with(|| Arc::clone(plan));
        totals
    }
}

impl ProbeTotals {
    fn record_slot(&mut self, slot: usize, sample: &ProbeSample) {
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, SlotTotals::default());
        }
        let last_failure = self.last_failure.clone();
        let slot = &mut self.slots[slot];
        slot.sent += 1;
        slot.opened += u64::from(sample.opened);
        match &sample.outcome {
            Outcome::Ok | Outcome::Late => {
                slot.ok += 1;
                if let Some(total) = sample.total() {
                    slot.latency += total;
                    slot.measured += 1;
                }
            }
            Outcome::Failed(_) => {
                slot.failed += 1;
                // It has just been written down for the probe.
                slot.last_failure = last_failure;
            }
            Outcome::Voided(_) => {}
        }
    }
}

impl SlotTotals {
    fn status(&self, slot: u8, now: Instant) -> SlotStatus {
        SlotStatus {
            slot,
            sent: self.sent,
            ok: self.ok,
            failed: self.failed,
            opened: self.opened,
            mean_seconds: (self.measured > 0).then(|| self.latency.as_secs_f64() / f64::from(self.measured)),
            last_failure: aged(self.last_failure.as_ref(), now),
        }
    }
}

/// A failure with its age.
fn aged(failure: Option<&(LastFailure, Instant)>, now: Instant) -> Option<LastFailure> {
    failure.map(|(failure, when)| LastFailure {
        age_seconds: now.saturating_duration_since(*when).as_secs_f64(),
        ..failure.clone()
    })
}

/// The rulers that the window holds a figure of.
fn rulers(window: &ProbeWindow) -> Vec<RulerStatus> {
    RULERS
        .into_iter()
        .zip(window.rulers.into_iter().zip(window.floors))
        .filter_map(|(ruler, (median, floor))| {
            Some(RulerStatus { ruler: ruler.to_owned(), median_seconds: median?, floor_seconds: floor? })
        })
        .collect()
}

fn burst_status(burst: &Burst, now: Instant) -> BurstStatus {
    let [good, failed, voided] = burst.counts();
    BurstStatus {
        cause: burst.cause.as_str().to_owned(),
        age_seconds: now.saturating_duration_since(burst.began).as_secs_f64(),
        before_seconds: burst.before.as_secs_f64(),
        good,
        failed,
        voided,
        latency_seconds: burst.figures().map(|figures| figures.map(|figure| figure.as_secs_f64())),
        failures: burst.failed.iter().map(|(class, count)| ((*class).to_owned(), *count)).collect(),
    }
}

fn latency(quantiles: &Quantiles) -> Option<LatencyStatus> {
    Some(LatencyStatus {
        count: quantiles.count(),
        mean_seconds: quantiles.mean()? / 1e9,
        p50_seconds: quantiles.quantile(0.5)? / 1e9,
        p99_seconds: quantiles.quantile(0.99)? / 1e9,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::fixtures::{link_plan, link_sample, ms, plan, sample};
    use crate::correlate::nodes::NodeWindows;
    use crate::correlate::window::Aggregator;
    use crate::model::outcome::{Failure, FailureClass, FailurePhase, GrpcStatus};

    #[test]
    fn every_sample_is_counted_once_and_only_good_ones_have_latency() {
        let plan = Arc::new(plan("p"));
        let now = Instant::now();
        let mut totals = Totals::default();
        totals.record(&sample(&plan, now, ms(9)));
        totals.record(&ProbeSample { outcome: Outcome::Late, ..sample(&plan, now, ms(19)) });
        totals.record(&ProbeSample { outcome: Outcome::Voided(None), ..sample(&plan, now, ms(999)) });
        let failure = Failure {
            status: GrpcStatus::Unavailable,
            class: FailureClass::Refused,
            phase: FailurePhase::Connect,
            detail: "why".into(),
        };
        totals.record(&ProbeSample { outcome: Outcome::Failed(failure), ..sample(&plan, now, ms(999)) });
        totals.skip(&plan, Connection::Reused);
        let window = Aggregator::new(vec![plan], now).rotate(now, &NodeWindows::default());
        let status = totals.status(&window.probes[0], now + ms(500));
        assert_eq!((status.sent, status.ok, status.late, status.voided, status.skipped), (4, 2, 1, 1, 1));
        assert_eq!(status.failures, BTreeMap::from([("refused".to_owned(), 1)]));
        assert_eq!(status.last_failure.unwrap().age_seconds, 0.5);
        let latency = status.latency.unwrap();
        assert_eq!(latency.count, 2);
        assert!((latency.mean_seconds - 0.015).abs() < 1e-9);
        let fresh = totals.status(&window.probes[1], now);
        assert_eq!((fresh.sent, fresh.latency), (0, None));
    }

    #[test]
    fn a_break_is_no_state_and_the_same_state_behind_it_no_change() {
        let plan = Arc::new(plan("p"));
        let now = Instant::now();
        let mut totals = Totals::default();
        let failure = Failure {
            status: GrpcStatus::Unavailable,
            class: FailureClass::Reset,
            phase: FailurePhase::Response,
            detail: "why".into(),
        };
        let told = |state| HealthEvent::Told(state);
        totals.health(&plan, &told(ServingState::Serving), now);
        totals.health(&plan, &HealthEvent::Broken(failure), now + ms(100));
        let window = Aggregator::new(vec![Arc::clone(&plan)], now).rotate(now, &NodeWindows::default());
        let health = |totals: &Totals| totals.status(&window.probes[0], now + ms(600)).health.unwrap();
        let silent = health(&totals);
        assert_eq!((silent.state, silent.age_seconds, silent.changes), (None, 0.5, 0));
        assert_eq!((silent.breaks["reset"], silent.last_break.as_deref()), (1, Some("why")));
        totals.health(&plan, &told(ServingState::Serving), now + ms(200));
        assert_eq!(health(&totals).changes, 0);
        totals.health(&plan, &told(ServingState::NotServing), now + ms(400));
        let status = health(&totals);
        assert_eq!((status.state, status.changes), (Some(ServingState::NotServing), 1));
        assert!((status.age_seconds - 0.2).abs() < 1e-9);
    }

    #[test]
    fn a_link_probe_shows_rulers_and_no_latency() {
        let link = Arc::new(link_plan("link", "me", "a"));
        let now = Instant::now();
        let (mut totals, mut aggregator) = (Totals::default(), Aggregator::new(vec![Arc::clone(&link)], now));
        for round_trip in [ms(3), ms(1), ms(2)] {
            let handshake = link_sample(&link, Connection::Fresh, now, round_trip);
            totals.record(&handshake);
            aggregator.record(&handshake);
        }
        let window = aggregator.rotate(now, &NodeWindows::default());
        let [pings, handshakes] = [0, 1].map(|at| totals.status(&window.probes[at], now));
        assert_eq!((handshakes.mode.as_str(), handshakes.sent, handshakes.ok), ("link", 3, 3));
        assert_eq!(handshakes.latency, None);
        let ruler = RulerStatus { ruler: "handshake".into(), median_seconds: 0.002, floor_seconds: 0.001 };
        assert_eq!(handshakes.rulers, [ruler]);
        assert_eq!(pings.rulers, []);
    }
}
