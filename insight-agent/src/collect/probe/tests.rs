//! The sender against real sockets: a real receiver, and peers that misbehave.

use super::session::Probe;
use crate::collect::host::schedstat::read_thread_wait;
use crate::door::{Door, Limits};
use crate::model::burst::{Burst, BurstCause};
use crate::model::outcome::{FailureClass, GrpcStatus};
use crate::model::plan::{Call, Connection, Mode, ProbePlan, RoutePlan, TlsPlan};
use crate::model::sample::{Outcome, ProbeEvent, ProbeSample};
use crate::serve::{Drill, GrpcOptions, GrpcTls, load_tls, serve_grpc};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

pub(super) fn plan(address: SocketAddr) -> ProbePlan {
    ProbePlan {
        mode: Mode::WhiteBox,
        call: Call::Measure { request_bytes: 0, response_bytes: 0, delay: Duration::ZERO },
        route: RoutePlan {
            metadata: vec![("x-target-region".into(), "sg".into())],
            origin: "insight-eu".into(),
            ..RoutePlan::example(address)
        },
        deadline: Duration::from_secs(5),
        drain: Duration::from_secs(5),
        // These tests are about the path, and run on hosts that starve them at times.
        void_share: f64::INFINITY,
        ..ProbePlan::example(address)
    }
}

pub(super) async fn receiver(tls: Option<GrpcTls>) -> SocketAddr {
    receiver_with(tls, Drill::default()).await
}

async fn receiver_with(tls: Option<GrpcTls>, drill: Drill) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = GrpcOptions {
        region: "sg".into(),
        node: "insight-sg".into(),
        max_delay: Duration::from_secs(2),
        max_payload: 4 << 20,
        reflection: false,
        tls: tls.map(|tls| load_tls(&tls).unwrap()),
        thread_wait: read_thread_wait,
        reports: None,
        door: Door::new(Limits::new(256, 256)),
    };
    tokio::spawn(serve_grpc(listener, options, drill, std::future::pending()));
    address
}

pub(super) async fn sample(plan: ProbePlan, connection: Connection) -> ProbeSample {
    Probe::new(Arc::new(plan)).unwrap().sample(connection, Instant::now()).await.0
}

pub(super) fn failed(sample: &ProbeSample) -> (FailureClass, GrpcStatus, &str) {
    match &sample.outcome {
        Outcome::Failed(failure) => (failure.class, failure.status, failure.detail.as_str()),
        other => panic!("{other:?} is no failure"),
    }
}

#[tokio::test]
async fn a_fresh_sample_has_every_phase_and_the_receivers_duration() {
    let delay = Duration::from_millis(30);
    let mut plan = plan(receiver(None).await);
    plan.call = Call::Measure { request_bytes: 10, response_bytes: 10, delay };
    let sample = sample(plan, Connection::Fresh).await;
    assert_eq!(sample.outcome, Outcome::Ok);
    let phases = sample.phases;
    assert!(phases.dns.is_none() && phases.tls.is_none(), "{phases:?}");
    assert!(phases.connect.is_some() && phases.http2.is_some() && phases.request.is_some(), "{phases:?}");
    assert!(phases.wait.unwrap() >= delay, "{phases:?}");
    let service = sample.service.unwrap();
    assert!(service.receive_to_send.seconds() >= delay.as_secs_f64(), "{service:?}");
    assert!(service.receive_to_send.seconds() <= phases.to_first_byte().unwrap().as_secs_f64());
    assert!(service.receive_to_trailers.unwrap().ns >= service.receive_to_send.ns);
    assert_eq!(sample.total().unwrap(), phases.setup() + phases.rpc().unwrap());
    assert!(sample.rulers.handshake.is_some() && sample.opened);
}

#[tokio::test]
async fn a_reused_connection_is_opened_once_and_pinged() {
    let probe = Probe::new(Arc::new(plan(receiver(None).await))).unwrap();
    let (first, _) = probe.sample(Connection::Reused, Instant::now()).await;
    let (second, losses) = probe.sample(Connection::Reused, Instant::now()).await;
    assert_eq!((first.opened, second.opened), (true, false));
    assert_eq!((&first.outcome, &second.outcome), (&Outcome::Ok, &Outcome::Ok));
    assert!(second.phases.connect.is_none() && second.rulers.handshake.is_none());
    assert!(second.rulers.ping.is_some() && second.rulers.ack.is_some(), "{:?} {losses:?}", second.rulers);
}

#[tokio::test]
async fn an_answer_after_the_deadline_is_late_with_its_true_duration() {
    let mut plan = plan(receiver(None).await);
    plan.deadline = Duration::from_millis(100);
    plan.call = Call::Measure { request_bytes: 0, response_bytes: 0, delay: Duration::from_millis(400) };
    let sample = sample(plan, Connection::Reused).await;
    assert_eq!(sample.outcome, Outcome::Late);
    assert!(sample.total().unwrap() >= Duration::from_millis(400), "{:?}", sample.phases);
}

#[tokio::test]
async fn no_answer_at_all_is_a_deadline_failure_after_the_drain() {
    let mut plan = plan(receiver(None).await);
    (plan.deadline, plan.drain) = (Duration::from_millis(100), Duration::from_millis(100));
    plan.call = Call::Measure { request_bytes: 0, response_bytes: 0, delay: Duration::from_millis(1500) };
    let start = Instant::now();
    let sample = sample(plan, Connection::Reused).await;
    let (class, status, detail) = failed(&sample);
    assert_eq!((class, status), (FailureClass::Deadline, GrpcStatus::DeadlineExceeded));
    assert!(detail.contains("connection is alive"), "{detail}");
    assert!(start.elapsed() >= Duration::from_millis(200) && sample.phases.wait.is_none());
}

#[tokio::test]
async fn a_large_payload_passes_the_flow_control_windows() {
    let mut plan = plan(receiver(None).await);
    plan.call = Call::Measure { request_bytes: 1 << 20, response_bytes: 3 << 20, delay: Duration::ZERO };
    assert_eq!(sample(plan, Connection::Fresh).await.outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_closed_port_is_refused_and_says_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for connection in [Connection::Fresh, Connection::Reused] {
        let sample = sample(plan(address), connection).await;
        let (class, status, detail) = failed(&sample);
        assert_eq!((class, status), (FailureClass::Refused, GrpcStatus::Unavailable));
        assert!(
            detail.contains("nothing listens there") && detail.contains(&address.to_string()),
            "{detail}"
        );
        assert_eq!(sample.total(), None);
    }
}

#[tokio::test]
async fn a_stuck_process_that_accepts_is_no_settings() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plan = plan(listener.local_addr().unwrap());
    plan.deadline = Duration::from_millis(200);
    let sample = sample(plan, Connection::Fresh).await;
    assert_eq!(failed(&sample).0, FailureClass::NoSettings, "{sample:?}");
    assert!(sample.phases.connect.is_some() && sample.phases.http2.is_none());
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_dns() {
    let mut plan = plan("127.0.0.1:1".parse().unwrap());
    plan.route.host = "no-such-host.invalid".into();
    assert_eq!(failed(&sample(plan, Connection::Fresh).await).0, FailureClass::Dns);
}

#[tokio::test]
async fn a_method_that_is_not_there_is_misrouted() {
    let mut plan = plan(receiver(None).await);
    plan.mode = Mode::BlackBox;
    plan.call = Call::Unary { method: "/no.Such/Method".into(), request: vec![] };
    let sample = sample(plan, Connection::Fresh).await;
    assert_eq!(failed(&sample).1, GrpcStatus::Unimplemented);
    assert_eq!(failed(&sample).0, FailureClass::Misrouted);
}

#[tokio::test]
async fn a_connection_that_was_closed_is_replaced_without_a_failure() {
    let address = receiver(None).await;
    let (relay, mut cut) = cuttable_relay(address).await;
    let probe = Probe::new(Arc::new(plan(relay))).unwrap();
    assert_eq!(probe.sample(Connection::Reused, Instant::now()).await.0.outcome, Outcome::Ok);
    cut.abort_all();
    while cut.join_next().await.is_some() {}
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (sample, _) = probe.sample(Connection::Reused, Instant::now()).await;
        if sample.opened {
            assert_eq!(sample.outcome, Outcome::Ok);
            return;
        }
        assert!(Instant::now() < deadline, "the closed connection is still in use: {sample:?}");
    }
}

/// A relay whose connections can be cut; the listener goes on.
async fn cuttable_relay(target: SocketAddr) -> (SocketAddr, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut connections = tokio::task::JoinSet::new();
    let (first, accepted) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut first = Some(first);
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            match first.take() {
                Some(first) => first.send(near).unwrap(),
                None => {
                    tokio::spawn(async move {
                        let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    });
                }
            }
        }
    });
    connections.spawn(async move {
        let mut near = accepted.await.unwrap();
        let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    (address, connections)
}

#[tokio::test]
async fn tls_is_a_phase_of_its_own_and_a_wrong_name_names_tls() {
    let folder = tempfile::tempdir().unwrap();
    let signed = rcgen::generate_simple_self_signed(vec!["receiver.test".into()]).unwrap();
    let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert_file, signed.cert.pem()).unwrap();
    std::fs::write(&key_file, signed.signing_key.serialize_pem()).unwrap();
    let tls = GrpcTls { cert_file: cert_file.clone(), key_file, client_ca_file: None };
    let mut plan = plan(receiver(Some(tls)).await);
    plan.route.tls = Some(TlsPlan {
        ca_file: Some(cert_file),
        server_name: Some("receiver.test".into()),
        client_identity: None,
    });
    let good = sample(plan.clone(), Connection::Fresh).await;
    assert_eq!(good.outcome, Outcome::Ok);
    assert!(good.phases.tls.is_some() && good.phases.http2.is_some(), "{:?}", good.phases);

    let tls = plan.route.tls.as_mut().unwrap();
    tls.server_name = Some("another.test".into());
    assert_eq!(failed(&sample(plan.clone(), Connection::Fresh).await).0, FailureClass::Tls);
    plan.route.tls = None;
    let plaintext = sample(plan, Connection::Fresh).await;
    // rustls answers the preface with an alert record, which is no HTTP/2 frame.
    let (class, _, detail) = failed(&plaintext);
    assert_eq!(class, FailureClass::Protocol, "{plaintext:?}");
    assert!(detail.contains("TLS port"), "{detail}");
}

#[test]
fn a_missing_ca_file_is_named_before_anything_is_sent() {
    let mut plan = plan("127.0.0.1:1".parse().unwrap());
    plan.route.tls = Some(TlsPlan { ca_file: Some("/no/such/ca.pem".into()), ..TlsPlan::default() });
    let error = Probe::new(Arc::new(plan)).unwrap_err().to_string();
    assert!(error.contains("ca_file") && error.contains("/no/such/ca.pem"), "{error}");
}

#[tokio::test]
async fn the_schedule_is_open_loop_and_skips_are_told() {
    let mut plan = plan(receiver(None).await);
    plan.interval = Duration::from_millis(20);
    plan.max_in_flight = 2;
    plan.call = Call::Measure { request_bytes: 0, response_bytes: 0, delay: Duration::from_millis(200) };
    let (events, mut received) = tokio::sync::mpsc::channel(1024);
    let prober =
        super::Prober::start(super::ReadyProbes::new(&[Arc::new(plan)]).unwrap(), events, Arc::new(|| ()))
            .unwrap();
    let (mut samples, mut skipped) = (0, 0);
    // A closed loop could send at most one sample each 200 ms and would never skip.
    while samples < 4 || skipped < 4 {
        match tokio::time::timeout(Duration::from_secs(10), received.recv()).await.unwrap().unwrap() {
            ProbeEvent::Sample(sample) => {
                assert_eq!(sample.outcome, Outcome::Ok);
                samples += 1;
            }
            ProbeEvent::Skipped(..) => skipped += 1,
            _ => {}
        }
    }
    tokio::task::spawn_blocking(|| prober.stop()).await.unwrap();
}

/// What a prober finds when a path of 30 ms takes 200 ms more from its 20th sample on.
async fn first_burst(plan: &ProbePlan, drill: &Path) -> Option<Burst> {
    // Whatever the file says is followed within a second.
    std::fs::write(drill, "").unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (events, mut received) = tokio::sync::mpsc::channel(1024);
    let ready = super::ReadyProbes::new(&[Arc::new(plan.clone())]).unwrap();
    let prober = super::Prober::start(ready, events, Arc::new(|| ())).unwrap();
    let mut good = 0;
    let burst = loop {
        match tokio::time::timeout(Duration::from_secs(10), received.recv()).await {
            Ok(Some(ProbeEvent::Sample(_))) if good < 20 => good += 1,
            Ok(Some(ProbeEvent::Sample(_))) if good == 20 => {
                good += 1;
                std::fs::write(drill, "200").unwrap();
            }
            Ok(Some(ProbeEvent::Burst(_, burst))) => break Some(*burst),
            Ok(Some(_)) => {}
            _ => break None,
        }
    };
    tokio::task::spawn_blocking(|| prober.stop()).await.unwrap();
    burst
}

#[tokio::test]
async fn a_path_that_becomes_slower_is_looked_at_more_closely() {
    let folder = tempfile::tempdir().unwrap();
    let (file, drill) = (folder.path().join("delay-ms"), Drill::default());
    tokio::spawn(drill.clone().follow(file.clone(), Duration::from_secs(2)));
    let mut plan = plan(receiver_with(None, drill).await);
    (plan.interval, plan.burst) = (Duration::from_millis(50), 6);
    plan.call = Call::Measure { request_bytes: 0, response_bytes: 0, delay: Duration::from_millis(30) };
    for attempt in 1.. {
        let burst = first_burst(&plan, &file).await;
        let least = burst.as_ref().and_then(Burst::figures).map_or(Duration::ZERO, |[least, ..]| least);
        if least >= Duration::from_millis(230) {
            let burst = burst.unwrap();
            assert_eq!((burst.cause, burst.counts()), (BurstCause::Latency, [6, 0, 0]));
            assert!(burst.before >= Duration::from_millis(30) && burst.before < Duration::from_millis(115));
            return;
        }
        // A loaded host makes a path worse by itself, before the drill does.
        assert!(attempt < 5, "{burst:?}");
    }
}

/// A health service whose first stream is refused after `delay`; it answers all others at once.
async fn refuses_first(delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut first = true;
        while let Some(Ok((_request, mut respond))) = connection.accept().await {
            let refuse = std::mem::take(&mut first);
            tokio::spawn(async move {
                if refuse {
                    tokio::time::sleep(delay).await;
                    return respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                // HealthCheckResponse { status: SERVING }
                body.send_data(bytes::Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]), false).unwrap();
                let trailers = http::HeaderMap::from_iter([(
                    http::HeaderName::from_static("grpc-status"),
                    http::HeaderValue::from_static("0"),
                )]);
                body.send_trailers(trailers).unwrap();
            });
        }
    });
    address
}

#[tokio::test]
async fn a_refused_first_attempt_is_part_of_the_retried_requests_latency() {
    let delay = Duration::from_millis(300);
    let mut plan = plan(refuses_first(delay).await);
    (plan.mode, plan.call) = (Mode::BlackBox, Call::HealthCheck { service: String::new() });
    plan.deadline = Duration::from_millis(100);
    let sample = sample(plan, Connection::Reused).await;
    assert_eq!(sample.outcome, Outcome::Late, "{sample:?}");
    assert!(sample.total().unwrap() >= delay, "{:?}", sample.phases);
}

#[tokio::test]
async fn a_peer_that_reads_nothing_keeps_no_task_of_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plan = plan(listener.local_addr().unwrap());
    (plan.deadline, plan.drain) = (Duration::from_millis(200), Duration::ZERO);
    plan.call = Call::Measure { request_bytes: 16 << 20, response_bytes: 0, delay: Duration::ZERO };
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (sample, _peer) = tokio::join!(sample(plan, Connection::Fresh), async {
        use tokio::io::AsyncWriteExt;
        let (mut peer, _) = listener.accept().await.unwrap();
        // SETTINGS with INITIAL_WINDOW_SIZE = 2^31 − 1, and a WINDOW_UPDATE as wide for the connection.
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff];
        let window = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0xff, 0, 0];
        peer.write_all(&[&settings[..], &window[..]].concat()).await.unwrap();
        peer
    });
    assert_eq!(failed(&sample).0, FailureClass::Deadline, "{sample:?}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while tokio::runtime::Handle::current().metrics().num_alive_tasks() > before {
        assert!(Instant::now() < deadline, "a task is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_sample_takes_little_room_while_it_waits() {
    let probe = Probe::new(Arc::new(plan(([127, 0, 0, 1], 9).into()))).unwrap();
    let sample = probe.sample(Connection::Reused, Instant::now());
    let room = size_of_val(&sample);
    assert!(room <= 10 * 1024, "{room} bytes; what a sample seldom needs belongs into a box");
}
