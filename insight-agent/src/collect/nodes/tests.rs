//! Pollers against real Node services in this process, and against peers that misbehave.

use super::*;
use crate::clock::AgentClock;
use crate::door::{Door, Limits};
use crate::model::region::KnownNode;
use crate::model::report::{NodeReport, Polled};
use crate::secret::Secret;
use crate::serve::{Drill, GrpcOptions, GrpcTls, Reports, ServiceTimes, load_tls, serve_grpc};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Longest wait for anything in these tests.
const LIMIT: Duration = Duration::from_secs(20);
const PERIOD: Duration = Duration::from_millis(50);

fn report(node: &str, region: &str, epoch: u64) -> NodeReport {
    NodeReport {
        node: node.into(),
        region: region.into(),
        epoch,
        uptime: Duration::from_secs(9),
        series: BTreeMap::new(),
        measurements: vec![],
        series_left_out: 0,
    }
}

/// What a served agent says of itself.
#[derive(Clone)]
struct Says {
    node: &'static str,
    region: &'static str,
    epoch: Arc<AtomicU64>,
    token: Option<&'static str>,
    tls: Option<GrpcTls>,
    known: Arc<Mutex<Vec<KnownNode>>>,
}

fn says(node: &'static str, region: &'static str) -> Says {
    Says { node, region, epoch: Arc::new(AtomicU64::new(7)), token: None, tls: None, known: Arc::default() }
}

/// Serves on a loopback port; 0 is a new one.
async fn serve(says: Says, port: u16) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (own, known) = (says.clone(), says.known);
    let reports = Reports {
        token: says.token.map(|token| Secret::from_text(token.as_bytes()).unwrap()),
        own: Arc::new(move || Some(report(own.node, own.region, own.epoch.load(Ordering::Relaxed)))),
        region: Arc::new(move || known.lock().unwrap().clone()),
        service_times: ServiceTimes::new(AgentClock::start()),
    };
    let options = GrpcOptions {
        region: says.region.into(),
        node: says.node.into(),
        max_delay: Duration::ZERO,
        max_payload: 0,
        reflection: false,
        tls: says.tls.map(|tls| load_tls(&tls).unwrap()),
        thread_wait: || None,
        reports: Some(reports),
        door: Door::new(Limits::new(256, 256)),
    };
    let server = tokio::spawn(async move {
        serve_grpc(listener, options, Drill::default(), std::future::pending()).await.unwrap();
    });
    (address, server)
}

fn target(place: Place, address: SocketAddr, token: Option<&str>) -> Target {
    Target {
        place,
        host: address.ip().to_string(),
        port: address.port(),
        authority: "node.example".into(),
        metadata: vec![("x-target-region".into(), "sg".into())],
        tls: None,
        token: token.map(|token| Bearer::from_text(token.as_bytes()).unwrap()),
    }
}

fn mediary_a() -> Place {
    Place::Node { region: "eu".into(), node: "mediary-a".into() }
}

fn sg() -> Place {
    Place::Region { region: "sg".into() }
}

fn poll(target: Target, period: Duration) -> mpsc::Receiver<NodeEvent> {
    let (events, received) = mpsc::channel(64);
    let outlet = Outlet { events, lost: Lost(Arc::new(|| ())) };
    tokio::spawn(Poller::new(target, period).unwrap().run(outlet));
    received
}

async fn next(events: &mut mpsc::Receiver<NodeEvent>) -> NodeEvent {
    tokio::time::timeout(LIMIT, events.recv()).await.expect("an event in time").expect("the poller goes on")
}

/// The first event for which `wanted` gives something.
async fn until<T>(events: &mut mpsc::Receiver<NodeEvent>, wanted: impl Fn(&NodeEvent) -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        let event = next(events).await;
        if let Some(found) = wanted(&event) {
            return found;
        }
        assert!(Instant::now() < end, "not in time; last {event:?}");
    }
}

fn polled(event: &NodeEvent) -> Option<Polled> {
    match event {
        NodeEvent::Polled { polled, .. } => Some((**polled).clone()),
        _ => None,
    }
}

fn failed(event: &NodeEvent) -> Option<PollFailure> {
    match event {
        NodeEvent::Failed { failure, .. } | NodeEvent::RegionFailed { failure, .. } => Some(failure.clone()),
        NodeEvent::Polled { .. } => None,
    }
}

#[tokio::test]
async fn a_node_is_asked_again_and_again_and_a_restart_shows_as_another_epoch() {
    let says = says("mediary-a", "eu");
    let (address, server) = serve(says.clone(), 0).await;
    let mut events = poll(target(mediary_a(), address, None), PERIOD);
    let first = until(&mut events, polled).await;
    let second = until(&mut events, polled).await;
    assert!(second.asked >= first.answered && second.answered >= second.asked);
    assert_eq!(second.report, report("mediary-a", "eu", 7));

    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    let failure = until(&mut events, failed).await;
    assert_ne!(failure.status, "BAD_REPORT");
    assert!(failure.detail.contains(&address.to_string()), "{}", failure.detail);
    says.epoch.store(8, Ordering::Relaxed);
    let (_, _server) = serve(says, address.port()).await;
    assert_eq!(until(&mut events, polled).await.report.epoch, 8);
}

#[tokio::test]
async fn a_report_of_another_node_or_region_is_refused_with_both_names() {
    for (says, found) in [(says("mediary-z", "eu"), "mediary-z"), (says("mediary-a", "us"), "us")] {
        let (address, _server) = serve(says, 0).await;
        let mut events = poll(target(mediary_a(), address, None), PERIOD);
        let event = next(&mut events).await;
        assert!(
            matches!(&event, NodeEvent::Failed { region, node, .. } if region == "eu" && node == "mediary-a")
        );
        let failure = failed(&event).unwrap();
        assert_eq!(failure.status, "BAD_REPORT");
        assert!(failure.detail.contains(&format!("{found:?}")), "{}", failure.detail);
        assert!(failure.detail.contains("mediary-a"), "{}", failure.detail);
    }
}

#[tokio::test]
async fn a_wrong_token_is_a_failure_that_does_not_tell_it() {
    let says = Says { token: Some("s3cret"), ..says("mediary-a", "eu") };
    let (address, _server) = serve(says, 0).await;
    for token in [None, Some("wr0ng")] {
        let failure = failed(&next(&mut poll(target(mediary_a(), address, token), PERIOD)).await).unwrap();
        assert_eq!(failure.status, "UNAUTHENTICATED");
        assert!(failure.detail.contains("token_file"), "{}", failure.detail);
        assert!(!failure.detail.contains("wr0ng") && !failure.detail.contains("s3cret"));
    }
    assert!(polled(&next(&mut poll(target(mediary_a(), address, Some("s3cret")), PERIOD)).await).is_some());
}

#[tokio::test]
async fn tls_is_verified_and_a_client_certificate_is_shown_where_one_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let signed = rcgen::generate_simple_self_signed(vec!["node.test".into()]).unwrap();
    let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert_file, signed.cert.pem()).unwrap();
    std::fs::write(&key_file, signed.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (cert_file.clone(), key_file.clone());
    let tls = GrpcTls { cert_file: cert.clone(), key_file: key.clone(), client_ca_file: Some(cert.clone()) };
    let (address, _server) = serve(Says { tls: Some(tls), ..says("mediary-a", "eu") }, 0).await;
    let with = |server_name: &str, client_identity| {
        let plan =
            TlsPlan { ca_file: Some(cert.clone()), server_name: Some(server_name.into()), client_identity };
        Target { tls: Some(plan), ..target(mediary_a(), address, None) }
    };
    let identity = Some((cert_file, key_file));
    let mut events = poll(with("node.test", identity.clone()), PERIOD);
    assert!(polled(&next(&mut events).await).is_some());
    for bad in [with("other.test", identity), with("node.test", None), target(mediary_a(), address, None)] {
        let failure = failed(&next(&mut poll(bad, PERIOD)).await).unwrap();
        assert_ne!(failure.status, "BAD_REPORT", "{failure:?}");
    }
}

#[tokio::test]
async fn a_peer_that_never_answers_costs_one_period_and_not_the_poller() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let deaf = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await);
        }
    });
    let mut events = poll(target(mediary_a(), address, None), Duration::from_millis(200));
    for _ in 0..2 {
        let failure = failed(&next(&mut events).await).unwrap();
        assert!(["DEADLINE_EXCEEDED", "CANCELLED"].contains(&failure.status.as_str()), "{failure:?}");
    }
    deaf.abort();
    assert!(deaf.await.unwrap_err().is_cancelled());
    let (_, _server) = serve(says("mediary-a", "eu"), address.port()).await;
    until(&mut events, polled).await;
}

#[tokio::test]
async fn a_regions_reports_are_moved_back_by_their_age_and_widened_by_their_poll() {
    let says = says("insight-sg", "sg");
    let (age, round_trip) = (Duration::from_millis(700), Duration::from_millis(40));
    let known = |node: &str, report: Option<NodeReport>, failure: Option<&str>| KnownNode {
        node: node.into(),
        report,
        age,
        poll_round_trip: round_trip,
        failure: failure.map(|status| PollFailure { status: status.into(), detail: "x".into() }),
    };
    *says.known.lock().unwrap() = vec![
        known("gateway-b", Some(report("gateway-b", "sg", 3)), None),
        known("mediary-b", Some(report("mediary-b", "sg", 4)), Some("UNAVAILABLE")),
        known("mediary-c", None, None),
        known("mediary-d", Some(report("mediary-x", "sg", 5)), None),
        known("mediary-e", None, Some("not a status")),
    ];
    let (address, _server) = serve(says, 0).await;
    let before = Instant::now();
    let mut events = poll(target(sg(), address, None), Duration::from_secs(2));
    let first = next(&mut events).await;
    let after = Instant::now();
    assert!(
        matches!(&first, NodeEvent::Polled { region, node, .. } if region == "sg" && node == "gateway-b")
    );
    let first = polled(&first).unwrap();
    assert!(first.asked + age + round_trip / 2 >= before);
    assert!(first.answered + age <= after + round_trip / 2);
    assert!(first.round_trip() >= round_trip);
    for (name, status) in [
        ("mediary-b", "UNAVAILABLE"),
        ("mediary-c", "UNAVAILABLE"),
        ("mediary-d", "BAD_REPORT"),
        ("mediary-e", "UNKNOWN"),
    ] {
        let event = next(&mut events).await;
        assert!(matches!(&event, NodeEvent::Failed { node, .. } if node == name), "{name}: {event:?}");
        assert_eq!(failed(&event).unwrap().status, status, "{name}");
    }
}

#[tokio::test]
async fn an_answer_of_another_region_or_none_at_all_fails_the_whole_region() {
    let (address, _server) = serve(says("insight-us", "us"), 0).await;
    let mut events = poll(target(sg(), address, None), PERIOD);
    let event = next(&mut events).await;
    assert!(matches!(&event, NodeEvent::RegionFailed { region, .. } if region == "sg"), "{event:?}");
    let failure = failed(&event).unwrap();
    assert_eq!(failure.status, "BAD_REPORT");
    assert!(failure.detail.contains("\"us\"") && failure.detail.contains("\"sg\""), "{}", failure.detail);

    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let event = next(&mut poll(target(sg(), unused, None), PERIOD)).await;
    assert!(matches!(event, NodeEvent::RegionFailed { .. }), "{event:?}");
    let failure = failed(&event).unwrap();
    assert_eq!(failure.status, "UNAVAILABLE");
    assert!(failure.detail.contains("refused"), "the cause is told: {}", failure.detail);
}

#[test]
fn too_many_nodes_and_names_of_more_than_one_word_are_refused() {
    let answers = |names: Vec<String>| crate::proto::v1::RegionReportResponse {
        region: "sg".into(),
        nodes: names
            .into_iter()
            .map(|node| crate::proto::v1::NodeReportOfRegion { node, ..Default::default() })
            .collect(),
    };
    let now = Instant::now();
    let read =
        |names| region::read_region("sg", answers(names), now, now, "region \"sg\"").map(|all| all.len());
    assert_eq!(read((0..64).map(|nth| format!("n{nth}")).collect()), Ok(64));
    for (names, what) in [
        ((0..65).map(|nth| format!("n{nth}")).collect(), "65 nodes"),
        (vec!["a b".to_owned()], "visible ASCII"),
        (vec!["a".to_owned(), "a".to_owned()], "twice"),
    ] {
        assert!(read(names).unwrap_err().contains(what), "{what}");
    }
}

#[tokio::test]
async fn a_consumer_that_lags_behind_loses_reports_and_they_are_counted() {
    let (address, _server) = serve(says("mediary-a", "eu"), 0).await;
    let (events, mut received) = mpsc::channel(1);
    let lost = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&lost);
    let count = Lost(Arc::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    let poller = Poller::new(target(mediary_a(), address, None), Duration::from_millis(10)).unwrap();
    let task = tokio::spawn(poller.run(Outlet { events, lost: count }));
    let end = Instant::now() + LIMIT;
    while lost.load(Ordering::Relaxed) < 2 {
        assert!(Instant::now() < end, "nothing was lost");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(received.recv().await.is_some());
    // Nobody listens any more: the poller ends by itself.
    drop(received);
    assert!(tokio::time::timeout(LIMIT, task).await.is_ok());
}

#[test]
fn a_poll_is_moved_back_and_widened() {
    let asked = Instant::now() + Duration::from_secs(100);
    let answered = asked + Duration::from_millis(10);
    let (age, slack) = (Duration::from_secs(3), Duration::from_millis(5));
    let (from, to) = moved_back(asked, answered, age, slack).unwrap();
    assert_eq!((asked - from, answered - to), (age + slack, age - slack));
    assert_eq!(moved_back(asked, answered, Duration::MAX, slack), None);
}
