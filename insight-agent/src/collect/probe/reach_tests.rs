//! The ways to a next hop: UNIX sockets, one version of IP, and a proxy's tunnel.

use super::slots_tests::serve_health;
use super::tests::{failed, plan, receiver, sample};
use super::{LinkProbe, Probe};
use crate::model::certificate::Certificates;
use crate::model::dial::{IpVersion, ProxyPlan};
use crate::model::outcome::{FailureClass, FailurePhase, GrpcStatus};
use crate::model::plan::{Call, Connection, LinkEnds, Mode, ProbePlan, TlsPlan};
use crate::model::sample::{Outcome, ProbeSample, Rulers};
use crate::serve::GrpcTls;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener};

const BOTH: [Connection; 2] = [Connection::Fresh, Connection::Reused];

fn health(address: SocketAddr) -> ProbePlan {
    let call = Call::HealthCheck { service: String::new() };
    ProbePlan { mode: Mode::BlackBox, call, ..plan(address) }
}

fn nowhere() -> SocketAddr {
    ([127, 0, 0, 1], 1).into()
}

fn phase(sample: &ProbeSample) -> FailurePhase {
    match &sample.outcome {
        Outcome::Failed(failure) => failure.phase,
        other => panic!("{other:?} is no failure"),
    }
}

// ---- UNIX sockets ---------------------------------------------------------------------------

#[tokio::test]
async fn a_unix_socket_has_a_connect_phase_and_only_the_ping_as_ruler() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("service.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_health(stream, Duration::ZERO));
        }
    });
    let mut plan = health(nowhere());
    (plan.route.host, plan.route.port) = (format!("unix:{}", path.display()), 0);
    for connection in BOTH {
        let sample = sample(plan.clone(), connection).await;
        assert_eq!(sample.outcome, Outcome::Ok);
        assert_eq!(sample.phases.connect.is_some(), connection == Connection::Fresh);
        assert_eq!((sample.phases.dns, sample.phases.tunnel), (None, None));
        assert_eq!(Rulers { ping: None, ..sample.rulers }, Rulers::default());
        assert_eq!(sample.rulers.ping.is_some(), connection == Connection::Reused);
    }
    plan.route.host = format!("unix:{}", folder.path().join("nobody").display());
    let sample = sample(plan, Connection::Fresh).await;
    let (class, status, detail) = failed(&sample);
    assert_eq!((class, status), (FailureClass::Refused, GrpcStatus::Unavailable));
    assert!(detail.contains("no such socket") && detail.contains("nobody"), "{detail}");
}

// ---- versions of IP -------------------------------------------------------------------------

#[tokio::test]
async fn a_name_without_an_address_of_the_wanted_version_says_so() {
    let address = receiver(None).await;
    let mut plan = plan(address);
    plan.route.host = "localhost".into();
    plan.route.dial.ip = IpVersion::V4;
    assert_eq!(sample(plan.clone(), Connection::Fresh).await.outcome, Outcome::Ok);
    // This host's own name of the loopback device; it may have the other version or not.
    plan.route.dial.ip = IpVersion::V6;
    let other = sample(plan, Connection::Fresh).await;
    let (class, _, detail) = failed(&other);
    match class {
        FailureClass::Dns => assert!(detail.contains("none of IPv6"), "{detail}"),
        _ => assert_eq!((class, phase(&other)), (FailureClass::Refused, FailurePhase::Connect)),
    }
}

// ---- a proxy's tunnel -----------------------------------------------------------------------

/// A double of a proxy that waits and then answers each CONNECT so; 200 leads to its target.
async fn proxy(delay: Duration, answer: &'static str) -> ProxyPlan {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(near.read_u8().await?);
                }
                tokio::time::sleep(delay).await;
                near.write_all(answer.as_bytes()).await?;
                if answer.starts_with("HTTP/1.1 200") {
                    let request = String::from_utf8(request).unwrap();
                    let target = request.split(' ').nth(1).unwrap();
                    let mut far = TcpStream::connect(target).await?;
                    copy_bidirectional(&mut near, &mut far).await?;
                }
                near.read_u8().await
            });
        }
    });
    ProxyPlan { host: "127.0.0.1".into(), port, auth_file: None }
}

const OK: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

#[tokio::test]
async fn a_tunnel_is_a_phase_of_its_own_and_no_ruler_speaks_of_the_proxy() {
    let delay = Duration::from_millis(60);
    let mut plan = plan(receiver(None).await);
    plan.route.dial.proxy = Some(proxy(delay, OK).await);
    for connection in BOTH {
        let sample = sample(plan.clone(), connection).await;
        assert_eq!(sample.outcome, Outcome::Ok);
        assert_eq!(Rulers { ping: None, ..sample.rulers }, Rulers::default());
        match connection {
            Connection::Fresh => {
                assert!(sample.phases.tunnel.unwrap() >= delay, "{:?}", sample.phases);
                assert!(sample.phases.connect.unwrap() < delay, "{:?}", sample.phases);
                assert!(sample.total().unwrap() >= delay, "it is part of a fresh connection's latency");
            }
            Connection::Reused => assert!(sample.phases.tunnel.is_none() && sample.rulers.ping.is_some()),
        }
    }
    let ends = LinkEnds { from: "a".into(), to: "b".into() };
    let link =
        LinkProbe::new(Arc::new(ProbePlan { mode: Mode::Link, call: Call::Link(ends), ..plan })).unwrap();
    let (ping, _) = link.sample(Connection::Reused, Instant::now()).await;
    assert!(ping.unwrap().rulers.ping.is_some(), "the PING goes on to the next hop");
}

#[tokio::test]
async fn every_way_in_which_a_proxy_gives_no_tunnel_is_told_apart() {
    let cases = [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", FailureClass::Proxy, "proxy_auth_file"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", FailureClass::Proxy, "rules forbid"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", FailureClass::Proxy, "HTTP 502"),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", FailureClass::Proxy, "did not reach the next hop"),
        ("SSH-2.0-OpenSSH_9.2\r\n", FailureClass::Protocol, "is no HTTP/1 response"),
    ];
    for (answer, class, text) in cases {
        let mut plan = plan(nowhere());
        plan.route.dial.proxy = Some(proxy(Duration::ZERO, answer).await);
        for connection in BOTH {
            let sample = sample(plan.clone(), connection).await;
            let (found, _, detail) = failed(&sample);
            assert_eq!((found, phase(&sample)), (class, FailurePhase::Tunnel), "{detail}");
            assert!(detail.contains(text) && detail.contains("the proxy http://127.0.0.1:"), "{detail}");
        }
    }
}

#[tokio::test]
async fn a_silent_proxy_ends_at_the_deadline_and_a_dead_one_is_refused() {
    let mut plan = plan(nowhere());
    plan.deadline = Duration::from_millis(200);
    plan.route.dial.proxy = Some(proxy(Duration::from_secs(60), OK).await);
    let silent = sample(plan.clone(), Connection::Fresh).await;
    let (class, status, detail) = failed(&silent);
    assert_eq!((class, status), (FailureClass::Proxy, GrpcStatus::DeadlineExceeded), "{detail}");
    assert_eq!(phase(&silent), FailurePhase::Tunnel);
    assert!(silent.took >= plan.deadline && silent.phases.connect.is_some());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    plan.route.dial.proxy = Some(ProxyPlan { host: "127.0.0.1".into(), port, auth_file: None });
    let dead = sample(plan, Connection::Fresh).await;
    let (class, _, detail) = failed(&dead);
    assert_eq!((class, phase(&dead)), (FailureClass::Refused, FailurePhase::Connect));
    assert!(detail.contains(&format!("the proxy http://127.0.0.1:{port}")), "{detail}");
}

#[tokio::test]
async fn tls_goes_through_the_tunnel_and_verifies_the_next_hop_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["receiver.test".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2043, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert_file, parameters.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let tls = GrpcTls { cert_file: cert_file.clone(), key_file, client_ca_file: None };
    // The target is an IP address, and the certificate has a name.
    let mut plan = plan(receiver(Some(tls)).await);
    plan.route.dial.proxy = Some(proxy(Duration::ZERO, OK).await);
    let named = |name: Option<&str>| TlsPlan {
        ca_file: Some(cert_file.clone()),
        server_name: name.map(str::to_owned),
        client_identity: None,
    };
    plan.route.tls = Some(named(Some("receiver.test")));
    let probe = Probe::new(Arc::new(plan.clone())).unwrap();
    let end = Some(rcgen::date_time_ymd(2043, 1, 1).unix_timestamp());
    let before = Certificates { client: None, ca: end, server: None };
    assert_eq!(probe.access().take_certificates(), Some(before), "nobody has shown one yet");
    let (good, _) = probe.sample(Connection::Fresh, Instant::now()).await;
    assert_eq!(good.outcome, Outcome::Ok);
    assert!(good.phases.tunnel.is_some() && good.phases.tls.is_some(), "{:?}", good.phases);
    assert_eq!(probe.access().take_certificates(), Some(Certificates { server: end, ..before }));
    assert_eq!(probe.access().take_certificates(), None, "told once");
    for wrong in [Some("another.test"), None] {
        plan.route.tls = Some(named(wrong));
        let sample = sample(plan.clone(), Connection::Fresh).await;
        assert_eq!((failed(&sample).0, phase(&sample)), (FailureClass::Tls, FailurePhase::Tls));
    }
}
