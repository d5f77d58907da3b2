//! The WAN carries packets: what is set shows in TCP itself, and nothing goes around it.

use crate::{options, root_lab, start};
use insight_lab::relay::{DirectionSettings, RelaySettings};
use insight_lab::{Fault, Lab, inside};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a connect may take that must not succeed.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The fastest of several connects from a node to `to`, in milliseconds.
fn connect_ms(lab: &Lab, from: &str, to: SocketAddr) -> f64 {
    let place = lab.place(from).unwrap();
    let connect = || {
        let once = || {
            let start = Instant::now();
            TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap();
            start.elapsed().as_secs_f64() * 1e3
        };
        (0..12).map(|_| once()).fold(f64::MAX, f64::min)
    };
    inside(&place.netns_path, connect).unwrap()
}

#[test]
fn a_wan_delay_shows_in_the_time_of_a_tcp_handshake() {
    if !root_lab("wan::a_wan_delay_shows_in_the_time_of_a_tcp_handshake") {
        return;
    }
    let mut lab = start(options());
    let far = lab.addresses().mediary_b;
    let quiet = connect_ms(&lab, "mediary-a", far);
    assert!((20.0..26.0).contains(&quiet), "the WAN of 20 ms reads {quiet} ms");
    lab.inject(&Fault::WanDelay(Duration::from_millis(40))).unwrap();
    let rise = connect_ms(&lab, "mediary-a", far) - quiet;
    assert!((36.0..46.0).contains(&rise), "40 ms more read {rise} ms more");
    lab.clear(&Fault::WanDelay(Duration::ZERO)).unwrap();
    let again = connect_ms(&lab, "mediary-a", far);
    assert!(again < quiet + 6.0, "cleared, it reads {again} ms after {quiet} ms");
    let state = lab.set_relay(RelaySettings::default()).unwrap();
    assert!(state.packets > 36 && state.lost == 0, "{state:?}");
    lab.stop().unwrap();
}

/// A TCP connection over the WAN, its accepting end on mediary-b's node.
fn connection(lab: &Lab) -> (TcpStream, TcpStream) {
    let far = SocketAddr::new(lab.addresses().mediary_b.ip(), 15999);
    let listener =
        inside(&lab.place("mediary-b").unwrap().netns_path, || TcpListener::bind(far)).unwrap().unwrap();
    let near =
        inside(&lab.place("mediary-a").unwrap().netns_path, || TcpStream::connect(far)).unwrap().unwrap();
    let (accepted, _) = listener.accept().unwrap();
    for stream in [&near, &accepted] {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    (near, accepted)
}

#[test]
fn lost_packets_are_sent_again_and_a_black_hole_stops_everything() {
    if !root_lab("wan::lost_packets_are_sent_again_and_a_black_hole_stops_everything") {
        return;
    }
    let mut options = options();
    options.wan_rtt = Duration::from_millis(2);
    let lab = start(options);
    let (mut near, mut far) = connection(&lab);
    let lossy = DirectionSettings { delay_us: 1_000, loss_probability: 0.05, ..DirectionSettings::default() };
    lab.set_relay(RelaySettings { forward: lossy, ..RelaySettings::default() }).unwrap();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let received = std::thread::scope(|scope| {
        scope.spawn(|| near.write_all(&sent).unwrap());
        let mut received = vec![0; sent.len()];
        far.read_exact(&mut received).unwrap();
        received
    });
    assert!(received == sent, "TCP repairs what the link loses");
    let state = lab.set_relay(RelaySettings { blackhole: true, ..RelaySettings::default() }).unwrap();
    assert!(state.lost >= 5, "a loss of 5 % of some 700 packets: {state:?}");

    near.write_all(b"into the hole").unwrap();
    far.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut byte = [0];
    let heard = far.read(&mut byte).unwrap_err();
    assert!(matches!(heard.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{heard:?}");
    lab.set_relay(RelaySettings::default()).unwrap();
    far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(far.read(&mut byte).unwrap(), 1, "retransmitted when the hole is gone");
}

#[test]
fn a_rate_limits_what_tcp_gets_through() {
    if !root_lab("wan::a_rate_limits_what_tcp_gets_through") {
        return;
    }
    let mut options = options();
    options.wan_rtt = Duration::from_millis(2);
    let lab = start(options);
    let (mut near, mut far) = connection(&lab);
    let slow = DirectionSettings { rate_bytes_per_s: Some(500_000), ..DirectionSettings::default() };
    lab.set_relay(RelaySettings { forward: slow, ..RelaySettings::default() }).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| near.write_all(&vec![7; 500_000]).unwrap());
        far.read_exact(&mut vec![0; 500_000]).unwrap();
    });
    let took = start.elapsed();
    // One second for the bytes, headers on top; retransmissions of what the full buffer lost.
    assert!((Duration::from_millis(950)..Duration::from_secs(8)).contains(&took), "{took:?}");
}

#[test]
fn settings_that_packets_cannot_follow_are_refused() {
    if !root_lab("wan::settings_that_packets_cannot_follow_are_refused") {
        return;
    }
    let lab = start(options());
    let resets = RelaySettings { reset_probability: 0.5, ..RelaySettings::default() };
    let refused = format!("{:#}", lab.set_relay(resets).unwrap_err());
    assert!(refused.contains("loss_probability"), "{refused}");
    let refused = format!("{:#}", lab.reset_wan_connections().unwrap_err());
    assert!(refused.contains("no connections"), "{refused}");
}

/// Adds routes to a node, as an intruder might, and sees whether they lead anywhere.
fn routed(lab: &Lab, node: &str, to: SocketAddr, via: &str) -> bool {
    let netns = &lab.place(node).unwrap().netns;
    let target = format!("{}/32", to.ip());
    let done =
        Command::new("ip").args(["-netns", netns, "route", "replace", &target, "via", via]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let reached = reaches(lab, node, to);
    let done = Command::new("ip").args(["-netns", netns, "route", "del", &target]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    reached
}

fn reaches(lab: &Lab, from: &str, to: SocketAddr) -> bool {
    let connect = || TcpStream::connect_timeout(&to, PATIENCE).is_ok();
    inside(&lab.place(from).unwrap().netns_path, connect).unwrap()
}

#[test]
fn no_way_leads_from_eu_to_sg_but_through_the_mediaries() {
    if !root_lab("wan::no_way_leads_from_eu_to_sg_but_through_the_mediaries") {
        return;
    }
    let lab = start(options());
    let (at, subnet) = (*lab.addresses(), lab.addresses().subnet);
    // What is refused below is there: the harness and the neighbours reach it.
    assert!(TcpStream::connect(at.service_b).is_ok());
    assert!(reaches(&lab, "gateway-b", at.service_b));
    assert!(reaches(&lab, "insight-eu", at.mediary_a));
    assert!(reaches(&lab, "mediary-a", at.mediary_b));
    // The services stand for everything in sg; the management addresses follow the order of the
    // nodes: insight-eu 0, mediary-a 1, service-b 6.
    let management = |index: u8, end: u8| format!("198.18.{subnet}.{}", 4 * index + end);
    let managed = SocketAddr::new(management(6, 2).parse().unwrap(), at.service_b.port());
    for to in [at.service_b, at.gateway_b, at.mediary_b, managed] {
        assert!(!reaches(&lab, "insight-eu", to), "insight-eu reaches {to}");
    }
    for to in [at.service_b, managed] {
        assert!(!reaches(&lab, "mediary-a", to), "mediary-a reaches {to}");
    }
    // Not even by routes of their own: neither the mediaries nor the harness forward.
    let (mediary, eu_harness, a_harness) =
        (at.mediary_a.ip().to_string(), management(0, 1), management(1, 1));
    for to in [at.service_b, at.mediary_b] {
        assert!(!routed(&lab, "insight-eu", to, &mediary), "{to} through mediary-a");
        assert!(!routed(&lab, "insight-eu", to, &eu_harness), "{to} through the harness");
    }
    assert!(!routed(&lab, "mediary-a", at.service_b, &at.mediary_b.ip().to_string()), "through mediary-b");
    assert!(!routed(&lab, "mediary-a", managed, &a_harness), "over the management network");
}
