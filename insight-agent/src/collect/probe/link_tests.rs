//! Link probes against real sockets: peers that are busy, mute, annoyed, gone, or no HTTP/2.

use super::link::LinkProbe;
use crate::model::connection_event::{ConnectionEvent, EventKind, EventReason};
use crate::model::outcome::FailureClass;
use crate::model::plan::{Call, Connection, LinkEnds, Mode, ProbePlan, RoutePlan};
use crate::model::sample::{Outcome, ProbeEvent, ProbeSample};
use crate::model::series::lost::Loss;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn plan(address: SocketAddr, ping: bool) -> ProbePlan {
    ProbePlan {
        name: "link-a".into(),
        target: "eu".into(),
        mode: Mode::Link,
        call: Call::Link(LinkEnds { from: "insight-eu".into(), to: "mediary-a".into() }),
        route: RoutePlan { origin: "insight-eu".into(), ..RoutePlan::example(address) },
        interval: Duration::from_millis(50),
        deadline: Duration::from_secs(5),
        drain: Duration::ZERO,
        connections: if ping { vec![Connection::Reused, Connection::Fresh] } else { vec![Connection::Fresh] },
        ping,
        // These tests are about the peer, and run on hosts that starve them at times.
        void_share: f64::INFINITY,
        ..ProbePlan::example(address)
    }
}

fn probe(address: SocketAddr) -> LinkProbe {
    LinkProbe::new(Arc::new(plan(address, true))).unwrap()
}

/// What a peer does with a PING.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// Its only thread does something else for this long, then answers.
    Busy(Duration),
    /// It never answers.
    Mute,
    /// It closes the connection with GOAWAY ENHANCE_YOUR_CALM.
    Annoyed,
    /// It closes the connection without a word.
    Curt,
    /// It answers, and closes connections on which none came for this long.
    Brief(Duration),
}

/// A process that speaks just enough HTTP/2: an event loop of one thread, so that whatever it does
/// for one connection keeps the others waiting, and only the kernel answers in the meantime.
fn peer(manner: Manner) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let mut connections = Vec::new();
        loop {
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true).unwrap();
                stream.set_nodelay(true).unwrap();
                connections.push((stream, Vec::new(), Instant::now()));
            }
            connections.retain_mut(|(stream, read, pinged)| {
                let idle = matches!(manner, Manner::Brief(patience) if pinged.elapsed() > patience);
                !idle && serve(stream, read, pinged, manner)
            });
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    address
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: u8 = 6;
/// GOAWAY of stream 0 with error 11, ENHANCE_YOUR_CALM.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];

/// One turn for one connection. Returns whether it stays open.
fn serve(stream: &mut std::net::TcpStream, read: &mut Vec<u8>, pinged: &mut Instant, manner: Manner) -> bool {
    let mut chunk = [0; 1024];
    match stream.read(&mut chunk) {
        Ok(0) => return false,
        Ok(length) => read.extend_from_slice(&chunk[..length]),
        Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
    }
    if read.starts_with(PREFACE) {
        read.drain(..PREFACE.len());
        stream.write_all(&EMPTY_SETTINGS).unwrap();
    }
    while read.len() >= 9 {
        let length = usize::from(read[1]) << 8 | usize::from(read[2]);
        if read.len() < 9 + length {
            break;
        }
        let mut frame: Vec<u8> = read.drain(..9 + length).collect();
        if frame[3] != PING || frame[4] == 1 {
            continue;
        }
        frame[4] = 1;
        *pinged = Instant::now();
        match manner {
            Manner::Mute => {}
            Manner::Curt => return false,
            Manner::Annoyed => {
                let _ = stream.write_all(&GOAWAY);
                return false;
            }
            Manner::Busy(work) => {
                std::thread::sleep(work);
                let _ = stream.write_all(&frame);
            }
            Manner::Brief(_) => stream.write_all(&frame).unwrap(),
        }
    }
    true
}

async fn take(probe: &LinkProbe, connection: Connection) -> ProbeSample {
    probe.sample(connection, Instant::now()).await.0.expect("the peer is not annoyed")
}

fn class(sample: &ProbeSample) -> FailureClass {
    match &sample.outcome {
        Outcome::Failed(failure) => failure.class,
        other => panic!("{other:?} is no failure"),
    }
}

#[tokio::test]
async fn a_busy_event_loop_raises_the_ping_and_not_the_handshake() {
    let work = Duration::from_millis(30);
    let probe = probe(peer(Manner::Busy(work)));
    let (mut handshakes, mut pings) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        // Together, so that the handshakes fall into the time in which the peer is busy.
        let ping = take(&probe, Connection::Reused);
        let handshake = async {
            tokio::time::sleep(work / 3).await;
            take(&probe, Connection::Fresh).await
        };
        let (ping, handshake) = tokio::join!(ping, handshake);
        assert_eq!((&ping.outcome, &handshake.outcome), (&Outcome::Ok, &Outcome::Ok));
        assert!(ping.rulers.handshake.is_none() && handshake.rulers.ping.is_none());
        assert_eq!((ping.total(), handshake.total()), (None, None), "no request, no latency");
        pings.push(ping.rulers.ping.unwrap());
        handshakes.push(handshake.rulers.handshake.unwrap());
        assert!(handshake.phases.connect.unwrap() >= *handshakes.last().unwrap());
    }
    assert!(pings.iter().all(|ping| *ping >= work), "{pings:?}");
    // The least of several: a loaded host may delay its own kernel now and then.
    assert!(*handshakes.iter().min().unwrap() < work / 3, "{handshakes:?}");
}

#[tokio::test]
async fn pings_share_one_connection_and_handshakes_have_their_own() {
    let probe = probe(peer(Manner::Busy(Duration::ZERO)));
    let opened =
        [take(&probe, Connection::Reused).await.opened, take(&probe, Connection::Reused).await.opened];
    assert_eq!(opened, [true, false]);
    for _ in 0..2 {
        assert!(take(&probe, Connection::Fresh).await.opened);
    }
}

#[tokio::test]
async fn a_closed_port_is_refused_on_both_rulers() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let probe = probe(listener.local_addr().unwrap());
    drop(listener);
    for connection in [Connection::Fresh, Connection::Reused] {
        let sample = take(&probe, connection).await;
        assert_eq!(class(&sample), FailureClass::Refused);
        assert!(!sample.opened && sample.rulers == Default::default(), "{sample:?}");
    }
}

#[tokio::test]
async fn a_black_hole_is_a_connect_timeout() {
    // A listener whose queue is full drops SYNs, as a silent firewall does.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(stream.unwrap());
        assert!(queued.len() < 16, "the listener's queue does not fill");
    }
    let plan = ProbePlan { deadline: Duration::from_millis(300), ..plan(address, true) };
    let probe = LinkProbe::new(Arc::new(plan)).unwrap();
    for connection in [Connection::Fresh, Connection::Reused] {
        let sample = take(&probe, connection).await;
        assert_eq!(class(&sample), FailureClass::ConnectTimeout, "{sample:?}");
    }
}

#[tokio::test]
async fn an_unanswered_ping_is_a_deadline_while_handshakes_go_on() {
    let plan = ProbePlan { deadline: Duration::from_millis(300), ..plan(peer(Manner::Mute), true) };
    let probe = LinkProbe::new(Arc::new(plan)).unwrap();
    let start = Instant::now();
    let sample = take(&probe, Connection::Reused).await;
    assert_eq!(class(&sample), FailureClass::Deadline, "{sample:?}");
    assert!(start.elapsed() >= Duration::from_millis(300) && sample.opened);
    assert_eq!(take(&probe, Connection::Fresh).await.outcome, Outcome::Ok);
    assert!(take(&probe, Connection::Reused).await.opened, "the silent connection is not kept");
}

#[tokio::test]
async fn a_connection_that_is_lost_under_a_ping_is_a_reset() {
    assert_eq!(class(&take(&probe(peer(Manner::Curt)), Connection::Reused).await), FailureClass::Reset);
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_replaced_without_a_failure() {
    let patience = Duration::from_millis(150);
    let probe = probe(peer(Manner::Brief(patience)));
    assert!(take(&probe, Connection::Reused).await.opened);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        tokio::time::sleep(patience * 2).await;
        let sample = take(&probe, Connection::Reused).await;
        assert_eq!(sample.outcome, Outcome::Ok);
        if sample.opened {
            return;
        }
        assert!(Instant::now() < deadline, "the peer closes no connection: {sample:?}");
    }
}

#[tokio::test]
async fn a_peer_that_asks_for_calm_gets_no_more_pings_but_handshakes() {
    let plan = ProbePlan { interval: Duration::from_secs(60), ..plan(peer(Manner::Annoyed), true) };
    let probe = LinkProbe::new(Arc::new(plan)).unwrap();
    for _ in 0..3 {
        let (sample, losses) = probe.sample(Connection::Reused, Instant::now()).await;
        assert!(sample.is_none(), "our PINGs are no fault of the link: {sample:?}");
        assert_eq!(losses, [("ping", Loss::BackedOff)]);
    }
    assert_eq!(probe.access().take_ping_interval(), Some(Duration::from_secs(120)));
    let goaway = ConnectionEvent { kind: EventKind::Goaway, reason: EventReason::EnhanceYourCalm };
    assert_eq!(probe.take_events(Connection::Reused), [(goaway, 1)], "only one was sent");
    assert_eq!(take(&probe, Connection::Fresh).await.outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_peer_without_http2_is_named_with_the_way_out() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let plan =
        ProbePlan { deadline: Duration::from_millis(300), ..plan(listener.local_addr().unwrap(), true) };
    let probe = LinkProbe::new(Arc::new(plan)).unwrap();
    let sample = take(&probe, Connection::Reused).await;
    let Outcome::Failed(failure) = &sample.outcome else { panic!("{sample:?}") };
    assert_eq!(failure.class, FailureClass::NoSettings);
    assert!(failure.detail.ends_with("ping = false"), "{}", failure.detail);
    assert_eq!(take(&probe, Connection::Fresh).await.outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_plain_tcp_port_is_measured_by_handshakes_alone() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let plan = plan(listener.local_addr().unwrap(), false);
    let (events, mut received) = tokio::sync::mpsc::channel(1024);
    let prober =
        super::Prober::start(super::ReadyProbes::new(&[Arc::new(plan)]).unwrap(), events, Arc::new(|| ()))
            .unwrap();
    for _ in 0..3 {
        let event = tokio::time::timeout(Duration::from_secs(10), received.recv()).await.unwrap().unwrap();
        let ProbeEvent::Sample(sample) = event else { panic!("{event:?}") };
        assert_eq!((sample.connection, &sample.outcome), (Connection::Fresh, &Outcome::Ok));
        assert!(sample.rulers.handshake.is_some(), "{sample:?}");
    }
    tokio::task::spawn_blocking(|| prober.stop()).await.unwrap();
}

#[tokio::test]
async fn a_slow_ping_makes_the_schedule_skip_and_not_pile_up() {
    let plan = plan(peer(Manner::Busy(Duration::from_millis(200))), true);
    let (events, mut received) = tokio::sync::mpsc::channel(1024);
    let prober =
        super::Prober::start(super::ReadyProbes::new(&[Arc::new(plan)]).unwrap(), events, Arc::new(|| ()))
            .unwrap();
    let (mut pings, mut skipped) = (0, 0);
    // Four times as many are scheduled as the peer answers.
    while pings < 2 || skipped < 2 {
        match tokio::time::timeout(Duration::from_secs(10), received.recv()).await.unwrap().unwrap() {
            ProbeEvent::Sample(sample) if sample.connection == Connection::Reused => {
                assert_eq!(sample.outcome, Outcome::Ok);
                pings += 1;
            }
            ProbeEvent::Skipped(_, connection) => {
                assert_eq!(connection, Connection::Reused);
                skipped += 1;
            }
            other => assert!(!matches!(other, ProbeEvent::PingInterval(..)), "{other:?}"),
        }
    }
    tokio::task::spawn_blocking(|| prober.stop()).await.unwrap();
}
