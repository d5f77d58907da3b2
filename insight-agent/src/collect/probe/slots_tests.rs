//! Several reused connections of one probe: each has its own fate.

use super::tests::{failed, plan};
use super::{Probe, Prober, ReadyProbes};
use crate::model::outcome::FailureClass;
use crate::model::plan::{Call, Connection, Mode, ProbePlan};
use crate::model::sample::{Outcome, ProbeEvent, ProbeSample};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// Answers health checks on this connection, each after `delay`, until it ends.
pub(super) async fn serve_health<S: AsyncRead + AsyncWrite + Unpin>(stream: S, delay: Duration) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((_request, mut respond))) = connection.accept().await {
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let mut body = respond.send_response(http::Response::new(()), false)?;
            // HealthCheckResponse { status: SERVING }
            body.send_data(bytes::Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]), false)?;
            let ok = (http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"));
            body.send_trailers(http::HeaderMap::from_iter([ok]))
        });
    }
}

/// What becomes of the connections of a server, in the order in which they come.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Answered(Duration),
    Ignored,
}

async fn server(fates: &'static [Fate]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut ignored = Vec::new();
        for fate in fates.iter().cycle() {
            let (stream, _) = listener.accept().await.unwrap();
            match fate {
                Fate::Answered(delay) => drop(tokio::spawn(serve_health(stream, *delay))),
                Fate::Ignored => ignored.push(stream),
            }
        }
    });
    address
}

fn several(address: SocketAddr, slots: usize) -> ProbePlan {
    let call = Call::HealthCheck { service: String::new() };
    ProbePlan { slots, mode: Mode::BlackBox, call, ..plan(address) }
}

async fn take(probe: &Probe) -> ProbeSample {
    probe.sample(Connection::Reused, Instant::now()).await.0
}

#[tokio::test]
async fn samples_go_round_and_a_slow_backend_is_one_slots() {
    const SLOW: Duration = Duration::from_millis(80);
    static FATES: [Fate; 3] =
        [Fate::Answered(Duration::ZERO), Fate::Answered(SLOW), Fate::Answered(Duration::ZERO)];
    let probe = Probe::new(Arc::new(several(server(&FATES).await, 3))).unwrap();
    let mut fast = [Duration::MAX; 3];
    for round in 0..4 {
        for slot in 0..3 {
            let sample = take(&probe).await;
            assert_eq!((&sample.outcome, sample.slot), (&Outcome::Ok, Some(slot)));
            assert_eq!(sample.opened, round == 0, "each is opened once");
            let least = &mut fast[usize::from(slot)];
            *least = sample.total().unwrap().min(*least);
        }
    }
    assert!(fast[1] >= SLOW && fast[0] < SLOW && fast[2] < SLOW, "{fast:?}");
}

#[tokio::test]
async fn a_slot_that_cannot_open_its_connection_holds_up_no_other_one() {
    static FATES: [Fate; 3] = [Fate::Answered(Duration::ZERO), Fate::Ignored, Fate::Answered(Duration::ZERO)];
    let patience = Duration::from_secs(3);
    let plan = ProbePlan { deadline: patience, ..several(server(&FATES).await, 3) };
    let probe = Arc::new(Probe::new(Arc::new(plan)).unwrap());
    assert_eq!(take(&probe).await.slot, Some(0));
    let stuck = tokio::spawn({
        let probe = Arc::clone(&probe);
        async move { take(&probe).await }
    });
    // It begins to wait before the others are asked for.
    tokio::task::yield_now().await;
    for expected in [2, 0] {
        let sample = take(&probe).await;
        assert_eq!((sample.slot, sample.outcome), (Some(expected), Outcome::Ok));
    }
    assert!(!stuck.is_finished(), "the others did not wait for it");
    let stuck = stuck.await.unwrap();
    assert_eq!((stuck.slot, failed(&stuck).0), (Some(1), FailureClass::NoSettings));
}

#[tokio::test]
async fn a_slot_that_hangs_takes_its_share_of_the_places_and_no_more() {
    static FATES: [Fate; 2] = [Fate::Ignored, Fate::Answered(Duration::ZERO)];
    let plan = ProbePlan {
        interval: Duration::from_millis(10),
        deadline: Duration::from_secs(20),
        max_in_flight: 4,
        ..several(server(&FATES).await, 2)
    };
    let (events, mut received) = tokio::sync::mpsc::channel(1024);
    let ready = ReadyProbes::new(&[Arc::new(plan)]).unwrap();
    let prober = Prober::start(ready, events, Arc::new(|| ())).unwrap();
    let (mut good, mut skipped) = (0, 0);
    // With all places taken by the hanging slot nothing would be sent until its deadline has passed.
    while good < 20 || skipped < 5 {
        match tokio::time::timeout(Duration::from_secs(10), received.recv()).await.unwrap().unwrap() {
            ProbeEvent::Sample(sample) => {
                assert_eq!((&sample.outcome, sample.slot), (&Outcome::Ok, Some(1)));
                good += 1;
            }
            ProbeEvent::Skipped(..) => skipped += 1,
            _ => {}
        }
    }
    tokio::task::spawn_blocking(|| prober.stop()).await.unwrap();
}

#[tokio::test]
async fn one_connection_and_fresh_ones_have_no_slot() {
    static FATES: [Fate; 1] = [Fate::Answered(Duration::ZERO)];
    let address = server(&FATES).await;
    let probe = Probe::new(Arc::new(several(address, 1))).unwrap();
    assert_eq!((take(&probe).await.slot, take(&probe).await.slot), (None, None));
    let probe = Probe::new(Arc::new(several(address, 4))).unwrap();
    let (fresh, _) = probe.sample(Connection::Fresh, Instant::now()).await;
    assert_eq!((fresh.slot, fresh.outcome), (None, Outcome::Ok));
}
