//! What a one-shot probe found: the same content for people and for programs.

use crate::correlate::ledger::probe_ledger;
use crate::model::connection_event::ConnectionEvent;
use crate::model::dial::{IpVersion, ProxyPlan};
use crate::model::figure::Figure;
use crate::model::hop::ServiceLoad;
use crate::model::ledger::{PathLedger, Segment};
use crate::model::outcome::Failure;
use crate::model::plan::{Connection, ProbePlan};
use crate::model::sample::{Outcome, ProbeSample};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Some good answers, some not.
pub(super) const SOME_FAILED: u8 = 1;
/// No good answer.
pub(super) const ALL_FAILED: u8 = 3;

/// One fresh sample and several reused ones.
pub(super) struct Report {
    pub(super) plan: Arc<ProbePlan>,
    /// The target is no Insight receiver; its health was asked for instead.
    pub(super) fell_back: bool,
    pub(super) fresh: ProbeSample,
    pub(super) reused: Vec<ProbeSample>,
    /// What happened on its connections besides, with how often.
    pub(super) events: Vec<(Connection, ConnectionEvent, u64)>,
}

impl Report {
    pub(super) fn samples(&self) -> impl Iterator<Item = &ProbeSample> {
        std::iter::once(&self.fresh).chain(&self.reused)
    }

    pub(super) fn exit_code(&self) -> u8 {
        exit_code(self.samples())
    }

    /// The good reused sample whose latency is the median: one real request, so that its parts
    /// add up, and not a mixture of several. **None**: no good one.
    pub(super) fn typical(&self) -> Option<&ProbeSample> {
        let mut good: Vec<_> =
            self.reused.iter().filter(|s| s.is_measurement() && s.total().is_some()).collect();
        good.sort_by_key(|sample| sample.total());
        good.get(good.len().checked_sub(1)? / 2).copied()
    }

    /// The ledger of a sample; the first link is the last handshake along the same way.
    pub(super) fn ledger(&self, sample: &ProbeSample) -> Option<PathLedger> {
        let handshakes = self.samples().filter_map(|sample| sample.rulers.handshake);
        let first_link = handshakes.last().map(Figure::from_duration);
        probe_ledger(sample, first_link).map(|found| found.ledger)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "address": self.plan.route.name,
            "authority": self.plan.route.authority,
            "ip": ip_word(&self.plan),
            "proxy": proxy_url(&self.plan),
            "mode": self.plan.mode,
            "method": self.plan.call.method(),
            "fell_back_to_health": self.fell_back,
            "samples": self.samples().map(|sample| self.sample_json(sample)).collect::<Vec<_>>(),
            "connection_events": events_json(&self.events),
            "exit_code": self.exit_code(),
        })
    }

    fn sample_json(&self, sample: &ProbeSample) -> Value {
        let OutcomeWords { outcome, status, failure } = outcome_words(sample);
        let phases: serde_json::Map<_, _> = sample
            .phases
            .named()
            .into_iter()
            .map(|(name, phase)| (format!("{name}_seconds"), seconds(phase)))
            .collect();
        let rulers = &sample.rulers;
        json!({
            "connection": sample.connection,
            "outcome": outcome,
            "status": status,
            "failure_class": failure.map(|failure| failure.class.as_str()),
            "failure_phase": failure.map(|failure| failure.phase.as_str()),
            "detail": failure.map(|failure| &failure.detail),
            "took_seconds": seconds(Some(sample.took)),
            "total_seconds": seconds(latency(sample)),
            "phases": phases,
            "hops": sample.hops.hops.iter().map(|hop| json!({
                "name": hop.name,
                "downstream_seconds": hop.downstream.map(Figure::seconds),
                "upstream_seconds": hop.upstream.map(Figure::seconds),
                "connect_seconds": hop.connect.map(Figure::seconds),
                "source": hop.source.as_str(),
            })).collect::<Vec<_>>(),
            "stream": sample.answer.stream.map(|stream| json!({
                "messages": stream.messages,
                "first_message_seconds": seconds(stream.first_message),
                "largest_gap_seconds": seconds(stream.largest_gap),
                "cut": stream.cut,
            })),
            "answer": (!sample.answer.messages.is_empty()).then_some(&sample.answer.messages),
            "service_seconds": sample.service.map(|service| service.receive_to_send.seconds()),
            "server_stats": {
                "server_seconds": sample.hops.stats.server.map(Figure::seconds),
                "load_balancer_seconds": sample.hops.stats.load_balancer.map(Figure::seconds),
            },
            "load": load_json(&sample.hops.load),
            "rulers": {
                "handshake_seconds": seconds(rulers.handshake),
                "ack_seconds": seconds(rulers.ack),
                "ack_min_seconds": seconds(rulers.ack_min),
                "ping_seconds": seconds(rulers.ping),
            },
            "prober_wait_seconds": seconds(sample.prober_wait),
            "prober_stalled_seconds": seconds(Some(sample.stalled)),
            "ledger": self.ledger(sample).map(|ledger| ledger_json(&ledger)),
        })
    }
}

/// Over which addresses it went, as `--ip` takes it.
pub(super) fn ip_word(plan: &ProbePlan) -> &'static str {
    match plan.route.dial.ip {
        IpVersion::Any => "any",
        IpVersion::V4 => "4",
        IpVersion::V6 => "6",
    }
}

/// The proxy that it went through. **None**: straight to the next hop.
pub(super) fn proxy_url(plan: &ProbePlan) -> Option<String> {
    plan.route.dial.proxy.as_ref().map(ProxyPlan::url)
}

/// The exit code that these samples come to, as `probe --help` documents it.
pub(super) fn exit_code<'a>(samples: impl Iterator<Item = &'a ProbeSample>) -> u8 {
    let (mut good, mut total) = (0, 0);
    for sample in samples {
        good += u64::from(sample.is_measurement());
        total += 1_u64;
    }
    match good {
        0 => ALL_FAILED,
        good if good < total => SOME_FAILED,
        _ => 0,
    }
}

/// How a sample ended, in words.
pub(super) struct OutcomeWords<'a> {
    pub(super) outcome: &'static str,
    pub(super) status: &'static str,
    /// Also of one that is voided.
    pub(super) failure: Option<&'a Failure>,
}

pub(super) fn outcome_words(sample: &ProbeSample) -> OutcomeWords<'_> {
    let (outcome, failure) = match &sample.outcome {
        Outcome::Ok => ("ok", None),
        Outcome::Late => ("late", None),
        Outcome::Voided(failure) => ("voided", failure.as_ref()),
        Outcome::Failed(failure) => ("failed", Some(failure)),
    };
    let status = failure.map_or(sample.answer.status, |failure| failure.status).as_str();
    OutcomeWords { outcome, status, failure }
}

/// What happened on connections, most of all nothing: an empty list.
pub(super) fn events_json(events: &[(Connection, ConnectionEvent, u64)]) -> Value {
    let event = |(connection, event, count): &(Connection, ConnectionEvent, u64)| {
        json!({
            "connection": connection,
            "event": event.kind.as_str(),
            "reason": event.reason.as_str(),
            "count": count,
        })
    };
    events.iter().map(event).collect()
}

/// Of an answer, good or voided. **None**: a failure, which has phases as far as they were reached and
/// no latency.
pub(super) fn latency(sample: &ProbeSample) -> Option<Duration> {
    matches!(sample.outcome, Outcome::Ok | Outcome::Late | Outcome::Voided(None)).then(|| sample.total())?
}

/// `null` where the service did not say a figure.
fn load_json(load: &ServiceLoad) -> Value {
    json!({
        "cpu_ratio": load.cpu,
        "memory_ratio": load.memory,
        "application_ratio": load.application,
        "requests_per_second": load.requests_per_second,
        "errors_per_second": load.errors_per_second,
    })
}

fn seconds(duration: Option<Duration>) -> Value {
    duration.map_or(Value::Null, |duration| duration.as_secs_f64().into())
}

fn ledger_json(ledger: &PathLedger) -> Value {
    let segment = |segment: &Segment| {
        json!({
            "name": segment.name,
            "seconds": segment.figure.map(Figure::seconds),
            "below_seconds": segment.figure.map(|figure| figure.below_ns as f64 / 1e9),
            "above_seconds": segment.figure.map(|figure| figure.above_ns as f64 / 1e9),
            "source": segment.evidence,
            "merged": segment.merged,
            "inconsistent": segment.inconsistent,
        })
    };
    json!({
        "kind": "probe",
        "end_to_end_seconds": ledger.end_to_end.seconds(),
        "segments": ledger.segments.iter().map(segment).collect::<Vec<_>>(),
        "unexplained_seconds": ledger.unexplained.seconds(),
        "residual_seconds": ledger.residual.map(Figure::seconds),
    })
}
