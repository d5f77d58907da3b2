use super::*;
use crate::collect::probe::{ProbeChange, Prober, ReadyProbes};
use crate::model::health::{HealthEvent, ServingState};
use crate::model::sample::ProbeEvent;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

fn watch(address: SocketAddr, service: &str) -> ProbePlan {
    ProbePlan {
        call: Call::HealthWatch { service: service.to_owned() },
        interval: Duration::from_millis(100),
        deadline: Duration::from_secs(5),
        void_share: f64::INFINITY,
        ..ProbePlan::example(address)
    }
}

/// A health service, its reporter, and how many connections it has.
async fn health(at: Option<SocketAddr>) -> (SocketAddr, HealthReporter, JoinHandle<()>) {
    let listener = TcpListener::bind(at.unwrap_or(([127, 0, 0, 1], 0).into())).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reporter, service) = health_reporter();
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
    let serving = tokio::spawn(async move {
        let _ = server.await;
    });
    (address, reporter, serving)
}

fn start(plan: ProbePlan) -> (Prober, mpsc::Receiver<ProbeEvent>) {
    let (events, received) = mpsc::channel(1024);
    let ready = ReadyProbes::new(&[Arc::new(plan)]).unwrap();
    (Prober::start(ready, events, Arc::new(|| ())).unwrap(), received)
}

/// The next thing that is told of health; samples go by.
async fn next(received: &mut mpsc::Receiver<ProbeEvent>) -> HealthEvent {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(20), received.recv()).await;
        if let ProbeEvent::Health(_, event) = event.expect("something is told in time").unwrap() {
            return event;
        }
    }
}

async fn next_sample(received: &mut mpsc::Receiver<ProbeEvent>) -> ProbeSample {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(20), received.recv()).await;
        if let ProbeEvent::Sample(sample) = event.expect("a sample ends in time").unwrap() {
            return *sample;
        }
    }
}

async fn stop(prober: Prober) {
    tokio::task::spawn_blocking(|| prober.stop()).await.unwrap();
}

#[tokio::test]
async fn every_change_of_state_is_told_as_it_comes() {
    let (address, reporter, _serving) = health(None).await;
    reporter.set_service_status("shop", ServingStatus::Serving).await;
    let (prober, mut received) = start(watch(address, "shop"));
    let sample = next_sample(&mut received).await;
    assert_eq!((&sample.outcome, sample.opened), (&Outcome::Ok, true));
    assert!(sample.phases.rpc().is_some() && sample.phases.connect.is_none(), "{sample:?}");
    assert_eq!(next(&mut received).await, HealthEvent::Told(ServingState::Serving));
    for (status, state) in [
        (ServingStatus::NotServing, ServingState::NotServing),
        (ServingStatus::Serving, ServingState::Serving),
        (ServingStatus::Unknown, ServingState::Unknown),
    ] {
        reporter.set_service_status("shop", status).await;
        assert_eq!(next(&mut received).await, HealthEvent::Told(state));
    }
    stop(prober).await;
}

#[tokio::test]
async fn a_service_that_is_not_known_yet_is_a_state() {
    let (address, _reporter, _serving) = health(None).await;
    let (prober, mut received) = start(watch(address, "no.Such"));
    match next(&mut received).await {
        HealthEvent::Told(state) => assert_eq!(state, ServingState::ServiceUnknown),
        // Some servers end the stream with NOT_FOUND instead.
        HealthEvent::Broken(failure) => assert_eq!(failure.status, GrpcStatus::NotFound),
    }
    stop(prober).await;
}

#[tokio::test]
async fn a_watch_that_breaks_says_why_and_comes_back() {
    let (address, reporter, serving) = health(None).await;
    reporter.set_service_status("", ServingStatus::Serving).await;
    let (relay, near) = relay(address).await;
    let (prober, mut received) = start(watch(relay, ""));
    assert_eq!(next(&mut received).await, HealthEvent::Told(ServingState::Serving));
    near.store(0, Ordering::SeqCst);
    let HealthEvent::Broken(failure) = next(&mut received).await else { panic!("nothing broke") };
    assert!(matches!(failure.class, FailureClass::Reset | FailureClass::Goaway), "{failure:?}");
    near.store(1, Ordering::SeqCst);
    loop {
        match next(&mut received).await {
            HealthEvent::Told(state) => {
                assert_eq!(state, ServingState::Serving);
                break;
            }
            HealthEvent::Broken(_) => {}
        }
    }
    stop(prober).await;
    serving.abort();
}

/// Relays connections while `open` is 1, and cuts those that there are when it becomes 0.
async fn relay(target: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let open = Arc::new(AtomicUsize::new(1));
    let watched = Arc::clone(&open);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let watched = Arc::clone(&watched);
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
                let cut = async {
                    while watched.load(Ordering::SeqCst) == 1 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = cut => {}
                }
            });
        }
    });
    (address, open)
}

/// Answers every stream with UNIMPLEMENTED; counts them, and the connections that are open.
async fn without_health() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counting = Arc::clone(&counting);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    counting.fetch_add(1, Ordering::SeqCst);
                    let mut response = http::Response::new(());
                    response.headers_mut().insert("grpc-status", http::HeaderValue::from_static("12"));
                    respond.send_response(response, true).unwrap();
                }
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn unimplemented_is_told_and_not_asked_again() {
    let (address, asked) = without_health().await;
    let (prober, mut received) = start(watch(address, ""));
    assert_eq!(failure(&next_sample(&mut received).await).class, FailureClass::Misrouted);
    let HealthEvent::Broken(failure) = next(&mut received).await else { panic!("it was told a state") };
    assert_eq!(failure.status, GrpcStatus::Unimplemented);
    // Any other failure would be tried again after a second.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    stop(prober).await;
}

#[tokio::test]
async fn a_watch_that_is_retired_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plan = watch(listener.local_addr().unwrap(), "");
    let (prober, _received) = start(plan);
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (_, mut respond) = connection.accept().await.unwrap().unwrap();
    let mut body = respond.send_response(http::Response::new(()), false).unwrap();
    body.send_data(bytes::Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]), false).unwrap();
    let ended = tokio::spawn(async move {
        // Until the peer has closed the connection. What this end then cannot say is an error, again and again.
        while let Some(Ok(_)) = connection.accept().await {}
    });
    let change = ProbeChange { stop: vec!["p".to_owned()], start: ReadyProbes::new(&[]).unwrap() };
    prober.control().apply(change).await;
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the connection is closed").unwrap();
    stop(prober).await;
}

/// How much a peer says before nothing more is heard of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Settings,
    Headers,
    Serving,
}

/// Accepts connections and falls silent on each. Its kernel goes on: bytes are taken, and none come.
async fn silent_after(says: Says) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // It has sent its SETTINGS with that. A connection that nobody polls reads and writes nothing.
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let mut body = None;
            if says != Says::Settings {
                let (_, mut respond) = connection.accept().await.unwrap().unwrap();
                let body = body.insert(respond.send_response(http::Response::new(()), false).unwrap());
                if says == Says::Serving {
                    body.send_data(bytes::Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]), false).unwrap();
                }
                // Writes what there is, and waits for more requests.
                let _ = tokio::time::timeout(Duration::from_millis(50), connection.accept()).await;
            }
            held.push((connection, body));
        }
    });
    address
}

#[tokio::test]
async fn a_silence_before_the_first_state_is_a_deadline_in_its_phase() {
    for (says, phase, text) in [
        (Says::Settings, FailurePhase::Wait, "nothing else was heard on the connection"),
        (Says::Headers, FailurePhase::Response, "the answer began and did not end"),
    ] {
        let mut plan = watch(silent_after(says).await, "");
        (plan.deadline, plan.drain) = (Duration::from_secs(1), Duration::from_millis(100));
        let (prober, mut received) = start(plan);
        let sample = next_sample(&mut received).await;
        let failed = failure(&sample);
        assert_eq!((failed.class, failed.phase), (FailureClass::Deadline, phase), "{failed:?}");
        assert_eq!(failed.status, GrpcStatus::DeadlineExceeded);
        assert!(failed.detail.contains(text) && failed.detail.contains("Health/Watch"), "{failed:?}");
        assert!(sample.opened && sample.took >= Duration::from_millis(1100), "{sample:?}");
        assert_eq!(next(&mut received).await, HealthEvent::Broken(failed.clone()));
        stop(prober).await;
    }
}

#[tokio::test]
async fn a_ping_finds_out_that_a_watch_hears_nobody_any_more() {
    // Beside it one that says as little, and answers PINGs.
    let (address, reporter, _serving) = health(None).await;
    reporter.set_service_status("", ServingStatus::Serving).await;
    let (calm, mut heard) = start(watch(address, ""));
    assert_eq!(next(&mut heard).await, HealthEvent::Told(ServingState::Serving));

    let mut plan = watch(silent_after(Says::Serving).await, "");
    plan.deadline = Duration::from_secs(1);
    let (prober, mut received) = start(plan);
    assert_eq!(next_sample(&mut received).await.outcome, Outcome::Ok);
    assert_eq!(next(&mut received).await, HealthEvent::Told(ServingState::Serving));
    let HealthEvent::Broken(failed) = next(&mut received).await else { panic!("it was told a state") };
    assert_eq!((failed.class, failed.phase), (FailureClass::Deadline, FailurePhase::Ping), "{failed:?}");
    assert_eq!(failed.status, GrpcStatus::DeadlineExceeded);
    assert!(failed.detail.contains("no answer within 1s"), "{failed:?}");
    // The connection is given up with it: the next one is told a state again.
    let sample = next_sample(&mut received).await;
    assert!(sample.outcome == Outcome::Ok && sample.opened, "{sample:?}");
    assert_eq!(next(&mut received).await, HealthEvent::Told(ServingState::Serving));
    stop(prober).await;

    let is_health = |event: &ProbeEvent| matches!(event, ProbeEvent::Health(..));
    let told = std::iter::from_fn(|| heard.try_recv().ok()).filter(is_health).count();
    assert_eq!(told, 0, "a peer that answers PINGs stays watched");
    stop(calm).await;
}
