//! What a scrape shows, read with the end-to-end tests' own exposition parser.

mod connections;
mod host;
mod links;
mod plans;
mod samples;
mod sockets;
mod table;
mod watches;
mod windows;

#[path = "../../../../../tests/e2e/src/exposition/mod.rs"]
mod exposition;

use super::*;
use crate::model::hop::HopSource;
use crate::model::ledger::{Evidence, HopHost, LedgerKind, Population};
use crate::model::outcome::{Failure, FailureClass, FailurePhase, GrpcStatus};
use crate::model::plan::{Call, Connection, LinkEnds, Mode, RoutePlan};
use crate::model::sample::{Answer, Outcome, Phases, Rulers, StreamTiming};
use crate::model::window::{LedgerWindow, PathWindow, ProbeWindow, SegmentWindow, ServiceWindow};
use exposition::Exposition;
use std::time::Instant;

const WINDOW: Duration = Duration::from_secs(10);

fn publish(metrics: &Metrics, window: &Window) {
    metrics.publish_window(&Arc::new(window.clone()));
}

fn agent() -> AgentLabels {
    AgentLabels { name: "node-1".to_owned(), region: "eu".to_owned(), version: "1.2.3".to_owned() }
}

fn plan(name: &str, target: &str) -> Arc<ProbePlan> {
    let plan = ProbePlan::example(([127, 0, 0, 1], 1).into());
    Arc::new(ProbePlan {
        name: name.to_owned(),
        target: target.to_owned(),
        mode: Mode::WhiteBox,
        route: RoutePlan {
            name: "chain".to_owned(),
            authority: "service".to_owned(),
            origin: "prober".to_owned(),
            hops: vec!["mediary-eu".to_owned()],
            ..plan.route
        },
        connections: vec![Connection::Reused, Connection::Fresh],
        void_share: 0.2,
        ..plan
    })
}

/// A link probe from `prober` to `mediary-eu`.
fn link_plan(name: &str) -> Arc<ProbePlan> {
    let ends = LinkEnds { from: "prober".to_owned(), to: "mediary-eu".to_owned() };
    let of = plan(name, "eu");
    Arc::new(ProbePlan { mode: Mode::Link, call: Call::Link(ends), ..(*of).clone() })
}

/// What a link probe's handshake (fresh) or PING (reused) of this length gives.
fn link_sample(plan: &Arc<ProbePlan>, connection: Connection, round_trip: Duration) -> ProbeSample {
    let rulers = match connection {
        Connection::Fresh => Rulers { handshake: Some(round_trip), ..Rulers::default() },
        Connection::Reused => Rulers { ping: Some(round_trip), ..Rulers::default() },
    };
    ProbeSample { connection, phases: Phases::default(), rulers, ..sample(plan, Outcome::Ok) }
}

/// A sample on the reused connection of 1 + 100 + 2 ms.
fn sample(plan: &Arc<ProbePlan>, outcome: Outcome) -> ProbeSample {
    let of = ProbeSample::example(plan, Instant::now(), [1, 100, 2].map(Duration::from_millis));
    ProbeSample { lag: Duration::from_micros(700), outcome, ..of }
}

fn failed() -> Outcome {
    Outcome::Failed(Failure {
        status: GrpcStatus::Unavailable,
        class: FailureClass::Refused,
        phase: FailurePhase::Connect,
        detail: String::new(),
    })
}

fn segment(name: &str, mean: Option<f64>, evidence: Option<Evidence>) -> SegmentWindow {
    SegmentWindow {
        name: name.to_owned(),
        mean,
        bound: mean.map(|_| 0.0),
        evidence,
        population: mean.map(|_| Population::Probe),
        node: None,
        age: mean.map(|_| Duration::ZERO),
        count: if mean.is_some() { 10 } else { 0 },
        merged: Vec::new(),
        inconsistent: 0,
        host: None,
    }
}

/// The same path's ledger as the nodes measured it: the hop's agent has been silent for 4 s.
fn of_nodes(probe: &LedgerWindow) -> LedgerWindow {
    let host = HopHost { busy_ratio: Some(0.9), throttled_ratio: Some(0.1), run_delay_ratio: Some(1.5) };
    let (age, host) = (Some(Duration::from_secs(4)), Some(host));
    let hop = SegmentWindow { age, host, ..segment("hop:mediary-eu", None, None) };
    let link = segment("link:prober>mediary-eu", Some(0.002), Some(Evidence::RttFloor));
    LedgerWindow { kind: LedgerKind::Window, segments: vec![link, hop], residual: None, ..probe.clone() }
}

/// A window that ended just now: one path with a ledger, one probe.
fn window(plan: &Arc<ProbePlan>) -> Window {
    let ledger = LedgerWindow {
        kind: LedgerKind::Probe,
        probe: plan.name.clone(),
        other_shape: 0,
        count: 10,
        end_to_end: Some(0.103),
        segments: vec![
            segment("link:prober>mediary-eu", Some(0.001), Some(Evidence::Handshake)),
            segment("hop:mediary-eu", Some(0.04), Some(Evidence::HopHeader)),
            segment("service", None, None),
        ],
        unexplained: Some(-0.002),
        residual: Some(0.0),
        refused: Vec::new(),
    };
    Window {
        ended: Instant::now(),
        length: WINDOW,
        paths: vec![PathWindow {
            source: plan.source.clone(),
            target: plan.target.clone(),
            cross_region_latency: Some(Duration::from_micros(103_500)),
            ledgers: vec![ledger],
        }],
        probes: vec![ProbeWindow {
            plan: Arc::clone(plan),
            connection: Connection::Reused,
            ended: 4,
            good: 3,
            phases: [None; 7],
            rulers: [None, Some(0.0012), None, Some(0.0034)],
            floors: [None, Some(0.001), None, Some(0.003)],
            service: ServiceWindow {
                times: [Some(0.002), Some(0.003)],
                ratios: [Some(0.5); 3],
                rates: [Some(120.0); 2],
                named: vec![("queue".to_owned(), 7.0)],
            },
        }],
    }
}

fn scrape(metrics: &Metrics) -> Exposition {
    Exposition::parse(&metrics.render()).unwrap()
}

/// A good answer of three messages.
fn streamed(plan: &Arc<ProbePlan>, gap: Duration) -> ProbeSample {
    let stream = StreamTiming {
        messages: 3,
        first_message: Some(Duration::from_millis(10)),
        largest_gap: Some(gap),
        cut: false,
    };
    let answer = Answer { stream: Some(stream), ..Answer::default() };
    ProbeSample { answer, ..sample(plan, Outcome::Ok) }
}
