//! The whole path, with each kind of forwarder: hops report in order, faults show where they are.

use crate::hop::{Hop, parse_all};
use crate::{lab_binary, skip};
use insight_lab::call::{Caller, HEALTH_CHECK};
use insight_lab::{Fault, Forwarder, Lab, LabOptions, haproxy_available, nginx_available};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(10);
const TO_BUSINESS: [(&str, &str); 2] = [("x-target-region", "sg"), ("x-target-service", "business")];
/// Requests per figure; the fastest of them is what a busy machine spoils least, and no delay
/// that was set can be missing from it.
const REQUESTS: usize = 24;

/// A lab without agents.
fn lab(forwarder: Forwarder) -> Lab {
    let mut options = LabOptions::new("", lab_binary());
    options.forwarder = forwarder;
    options.start_agents = false;
    Lab::start(options).unwrap()
}

/// One request's times in milliseconds.
struct Seen {
    total: f64,
    hops: Vec<Hop>,
    values: Vec<String>,
}

/// Sends health checks along the path and keeps the fastest.
fn measure(lab: &Lab) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let caller = Caller::new(lab.addresses().mediary_a, 1);
        let mut seen = Vec::new();
        // The first request opens connections and is not looked at.
        for _ in 0..=REQUESTS {
            let reply = caller.call(HEALTH_CHECK, &TO_BUSINESS, DEADLINE).await.unwrap();
            assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
            // SERVING: field 1, value 1.
            assert_eq!(reply.body[..], [0, 0, 0, 0, 2, 8, 1], "{reply:?}");
            let (total, values) = (reply.total.as_secs_f64() * 1e3, reply.hops());
            seen.push(Seen { total, hops: parse_all(&values), values });
        }
        // Shown when the test fails, or with --nocapture.
        println!("first {:?}\nlast  {:?}", seen[0].values, seen[REQUESTS].values);
        seen.remove(0);
        seen.into_iter().min_by(|a, b| a.total.total_cmp(&b.total)).unwrap()
    })
}

fn silent_hops_forward_and_tell_nothing(forwarder: Forwarder) {
    let mut options = LabOptions::new("", lab_binary());
    options.forwarder = forwarder;
    options.start_agents = false;
    options.hop_headers = false;
    let lab = Lab::start(options).unwrap();
    assert_eq!(measure(&lab).values, Vec::<String>::new());
}

/// What every kind of forwarder has to show.
fn hops_and_faults_show_where_they_are(forwarder: Forwarder) {
    let mut lab = lab(forwarder);
    // Two clocks that are read in whole milliseconds can differ by two of them.
    let tick = if forwarder == Forwarder::Embedded { 0.01 } else { 2.0 };

    let quiet = measure(&lab);
    let names: Vec<_> = quiet.hops.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names, ["gateway-b", "mediary-b", "mediary-a"], "the innermost hop comes first");
    let [gateway, mediary_b, mediary_a] = [0, 1, 2].map(|i| quiet.hops[i].clone());
    for (outer, inner) in [(&mediary_a, &mediary_b), (&mediary_b, &gateway)] {
        assert!(outer.d + tick >= outer.u.unwrap(), "{outer:?}");
        assert!(outer.u.unwrap() + tick >= inner.d, "{outer:?} around {inner:?}");
    }
    assert!(quiet.total + tick >= mediary_a.d, "{} around {mediary_a:?}", quiet.total);
    let link = mediary_a.u.unwrap() - mediary_b.d;
    assert!((20.0 - tick..30.0).contains(&link), "the WAN link of 20 ms reads {link} ms");

    lab.inject(&Fault::WanDelay(Duration::from_millis(40))).unwrap();
    let far = measure(&lab);
    let link = far.hops[2].u.unwrap() - far.hops[1].d;
    assert!((60.0 - tick..75.0).contains(&link), "20 + 40 ms of WAN read {link} ms");
    lab.clear(&Fault::WanDelay(Duration::ZERO)).unwrap();

    lab.inject(&Fault::GatewaySlow(Duration::from_millis(30))).unwrap();
    let slow = measure(&lab);
    let residences: Vec<_> = slow.hops.iter().map(Hop::residence).collect();
    assert!((30.0 - tick..45.0).contains(&residences[0]), "30 ms inside gateway-b: {residences:?}");
    assert!(residences[1..].iter().all(|ms| *ms < 15.0), "only inside gateway-b: {residences:?}");
    assert!(slow.hops[0].u.unwrap() < 15.0, "not in what gateway-b waits for: {:?}", slow.hops[0]);
    lab.clear(&Fault::GatewaySlow(Duration::ZERO)).unwrap();

    lab.inject(&Fault::ServiceSlow(Duration::from_millis(30))).unwrap();
    let busy = measure(&lab);
    let waited = busy.hops[0].u.unwrap();
    assert!((30.0 - tick..45.0).contains(&waited), "30 ms of service time read {waited} ms");
    assert!(busy.hops.iter().all(|hop| hop.residence() < 15.0), "not inside a hop: {:?}", busy.hops);
    let receiver = std::fs::read_to_string(lab.run_dir().join("receiver-delay-ms")).unwrap();
    assert_eq!(receiver.trim(), "30");
    lab.clear(&Fault::ServiceSlow(Duration::ZERO)).unwrap();

    let again = measure(&lab);
    assert!(again.total < 35.0, "without faults it is quiet again: {} ms", again.total);
    lab.stop().unwrap();
}

/// A first mediary that is down refuses connections, and comes back.
fn a_mediary_goes_down_and_comes_back(forwarder: Forwarder) {
    let mut lab = lab(forwarder);
    let address = lab.addresses().mediary_a;
    lab.inject(&Fault::MediaryADown).unwrap();
    let refused = std::net::TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let node = lab.nodes().into_iter().find(|n| n.name == "mediary-a").unwrap();
    assert!(!node.alive && node.pid.is_none(), "{node:?}");
    lab.clear(&Fault::MediaryADown).unwrap();
    assert_eq!(measure(&lab).hops.len(), 3);
}

/// A region that nobody routes is an error of configuration, and says so.
fn an_unknown_region_is_refused(forwarder: Forwarder) {
    let lab = lab(forwarder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reply = runtime.block_on(async {
        let caller = Caller::new(lab.addresses().mediary_a, 1);
        caller.call(HEALTH_CHECK, &[("x-target-region", "mars")], DEADLINE).await.unwrap()
    });
    match forwarder {
        // HTTP 404 is UNIMPLEMENTED by the gRPC specification's table.
        Forwarder::Nginx => assert_eq!((reply.http_status, reply.grpc_status()), (404, None)),
        _ => {
            assert_eq!(reply.grpc_status(), Some(12), "{reply:?}");
            assert_eq!(reply.headers["content-type"], "application/grpc");
            assert_eq!(reply.grpc_message(), "mediary-a: no route for x-target-region=mars");
        }
    }
    let hops = reply.hops();
    assert!(hops.len() == 1 && hops[0].starts_with("mediary-a;d"), "the refusing hop signs: {hops:?}");
}

/// The hop before the one that is down answers by itself: it signs, and claims no upstream time.
fn a_dead_gateway_is_reported_by_the_hop_before_it(forwarder: Forwarder) {
    let mut lab = lab(forwarder);
    lab.kill("gateway-b");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reply = runtime.block_on(async {
        let caller = Caller::new(lab.addresses().mediary_a, 1);
        caller.call(HEALTH_CHECK, &TO_BUSINESS, DEADLINE).await.unwrap()
    });
    match forwarder {
        Forwarder::Embedded => {
            assert_eq!(reply.grpc_status(), Some(14), "{reply:?}");
            let message = reply.grpc_message();
            let upstream = lab.addresses().gateway_b.to_string();
            assert!(message.starts_with("mediary-b: ") && message.contains(&upstream), "{message}");
        }
        Forwarder::Nginx => assert_eq!((reply.http_status, reply.grpc_status()), (502, None)),
        Forwarder::Haproxy => assert_eq!((reply.http_status, reply.grpc_status()), (503, None)),
    }
    let hops = parse_all(&reply.hops());
    assert_eq!(hops.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["mediary-b", "mediary-a"]);
    assert_eq!(hops[0].u, None, "mediary-b got no answer to time: {:?}", reply.hops());
    assert!(hops[1].u.is_some_and(|ms| ms >= 18.0), "mediary-a got its answer over the WAN: {:?}", hops[1]);
}

// ── the kinds ───────────────────────────────────────────────────────────────────────────────

/// Whether the programs are there; says so when they are not.
fn installed(test: &str, forwarder: Forwarder) -> bool {
    let missing = match forwarder {
        Forwarder::Embedded => None,
        Forwarder::Nginx if nginx_available().is_none() => Some("nginx"),
        _ => haproxy_available().is_none().then_some("haproxy"),
    };
    if let Some(program) = missing {
        skip(test, &format!("{program} is not installed (apt-get install {program})"));
    }
    missing.is_none()
}

macro_rules! with_each_forwarder {
    ($($kind:ident $forwarder:expr;)+) => {$(
        mod $kind {
            use super::*;

            #[test]
            fn hops_and_faults_show_where_they_are() {
                if installed(concat!(stringify!($kind), "::hops_and_faults_show_where_they_are"), $forwarder) {
                    super::hops_and_faults_show_where_they_are($forwarder);
                }
            }

            #[test]
            fn a_mediary_goes_down_and_comes_back() {
                if installed(concat!(stringify!($kind), "::a_mediary_goes_down_and_comes_back"), $forwarder) {
                    super::a_mediary_goes_down_and_comes_back($forwarder);
                }
            }

            #[test]
            fn a_dead_gateway_is_reported_by_the_hop_before_it() {
                if installed(concat!(stringify!($kind), "::a_dead_gateway_is_reported_by_the_hop_before_it"), $forwarder) {
                    super::a_dead_gateway_is_reported_by_the_hop_before_it($forwarder);
                }
            }

            #[test]
            fn silent_hops_forward_and_tell_nothing() {
                if installed(concat!(stringify!($kind), "::silent_hops_forward_and_tell_nothing"), $forwarder) {
                    super::silent_hops_forward_and_tell_nothing($forwarder);
                }
            }

            #[test]
            fn an_unknown_region_is_refused() {
                if installed(concat!(stringify!($kind), "::an_unknown_region_is_refused"), $forwarder) {
                    super::an_unknown_region_is_refused($forwarder);
                }
            }
        }
    )+};
}

with_each_forwarder! {
    embedded Forwarder::Embedded;
    nginx Forwarder::Nginx;
    haproxy Forwarder::Haproxy;
}
