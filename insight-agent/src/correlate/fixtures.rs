//! Invented samples for this folder's tests.

use crate::model::figure::Figure;
use crate::model::hop::{HopSource, HopTiming};
use crate::model::plan::{Call, Connection, LinkEnds, Mode, ProbePlan, RoutePlan};
use crate::model::sample::{Phases, ProbeSample, Rulers, ServiceTiming};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A white-box plan from eu to sg over hops `a` and `b`.
pub(super) fn plan(name: &str) -> ProbePlan {
    let plan = ProbePlan::example(([127, 0, 0, 1], 1).into());
    ProbePlan {
        name: name.into(),
        mode: Mode::WhiteBox,
        call: Call::Measure { request_bytes: 0, response_bytes: 0, delay: Duration::ZERO },
        route: RoutePlan {
            name: "via-a".into(),
            authority: "x".into(),
            hops: vec!["a".into(), "b".into()],
            ..plan.route
        },
        interval: ms(100),
        connections: vec![Connection::Reused, Connection::Fresh],
        ..plan
    }
}

/// A link probe of the link `from` > `to`, along the same route.
pub(super) fn link_plan(name: &str, from: &str, to: &str) -> ProbePlan {
    let ends = LinkEnds { from: from.into(), to: to.into() };
    ProbePlan { mode: Mode::Link, call: Call::Link(ends), ..plan(name) }
}

/// A link probe's handshake (fresh) or PING (reused).
pub(super) fn link_sample(
    plan: &Arc<ProbePlan>,
    connection: Connection,
    finished: Instant,
    round_trip: Duration,
) -> ProbeSample {
    let rulers = match connection {
        Connection::Fresh => Rulers { handshake: Some(round_trip), ..Rulers::default() },
        Connection::Reused => Rulers { ping: Some(round_trip), ..Rulers::default() },
    };
    let of = sample(plan, finished, Duration::ZERO);
    ProbeSample { connection, phases: Phases::default(), service: None, rulers, ..of }
}

/// A good reused sample that waited `wait` for its first byte and 1 ms for the rest.
pub(super) fn sample(plan: &Arc<ProbePlan>, finished: Instant, wait: Duration) -> ProbeSample {
    let service = ServiceTiming {
        receive_to_send: Figure::from_duration(ms(2)),
        receive_to_trailers: None,
        runqueue_wait: None,
    };
    let of = ProbeSample::example(plan, finished, [Duration::ZERO, wait, ms(1)]);
    ProbeSample { service: Some(service), ..of }
}

/// A hop that had the request for `d` and waited `u` of it for the next one.
pub(super) fn hop(name: &str, d: u64, u: u64) -> HopTiming {
    HopTiming {
        name: name.into(),
        downstream: Some(Figure::from_duration(ms(d))),
        upstream: Some(Figure::from_duration(ms(u))),
        connect: None,
        source: HopSource::InsightHop,
    }
}
