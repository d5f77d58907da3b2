//! The embedded forwarder: it routes, signs, streams, reconnects, and tells its own time.

use crate::echo::{self, H2Echo};
use crate::hop::{Hop, parse_all};
use bytes::Bytes;
use insight_lab::call::{Caller, HEALTH_CHECK};
use insight_lab::forwarder::{self, ForwarderOptions, ForwarderRequest, ForwarderState, Routes};
use insight_lab::{Topology, control};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);
const TO_ONE: [(&str, &str); 1] = [("x-to", "one")];

/// A forwarder at `listen`, with short patience and one route.
async fn forward(name: &str, listen: SocketAddr, upstream: SocketAddr) {
    let route = format!("x-to=one={upstream}").parse().unwrap();
    let options = ForwarderOptions {
        name: name.to_owned(),
        silent: false,
        listen,
        control: Topology::control(listen),
        routes: Routes::new(vec![route], None),
        upstream_timeout: Duration::from_secs(2),
        max_connections: 64,
    };
    tokio::spawn(forwarder::run(options));
    echo::accepting(Topology::control(listen)).await;
}

/// One control request; blocking, hence on a thread of its own.
async fn ask(forwarder: SocketAddr, request: ForwarderRequest) -> ForwarderState {
    let address = Topology::control(forwarder);
    tokio::task::spawn_blocking(move || control::ask(address, &request)).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hop_signs_behind_those_upstream_of_it() {
    let (at, _claim) = echo::addresses();
    let _upstream = H2Echo::start(at.service_b, None).await;
    forward("b", at.mediary_b, at.service_b).await;
    forward("a", at.mediary_a, at.mediary_b).await;
    let caller = Caller::new(at.mediary_a, 1);
    let reply = caller.call(HEALTH_CHECK, &[("x-to", "one"), ("x-echo", "kept")], DEADLINE).await.unwrap();
    assert_eq!(reply.trailers["x-echo"], "kept", "metadata and trailers pass");
    let hops = parse_all(&reply.hops());
    assert_eq!(hops.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["inner-1", "inner-2", "b", "a"]);
    let [b, a] = [&hops[2], &hops[3]];
    assert!(a.d >= a.u.unwrap() && a.u.unwrap() >= b.d && b.d >= b.u.unwrap(), "{hops:?}");
    assert!(b.u.unwrap() >= b.c.unwrap(), "the connect is part of u: {b:?}");
    let second = caller.call(HEALTH_CHECK, &TO_ONE, DEADLINE).await.unwrap();
    assert!(parse_all(&second.hops())[2..].iter().all(|h| h.c.is_none()), "reused: {:?}", second.hops());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_delay_is_time_inside_this_hop_only() {
    let (at, _claim) = echo::addresses();
    let _upstream = H2Echo::start(at.service_b, None).await;
    forward("b", at.mediary_b, at.service_b).await;
    forward("a", at.mediary_a, at.mediary_b).await;
    ask(at.mediary_b, ForwarderRequest::SetRequestDelayUs(25_000)).await;
    let caller = Caller::new(at.mediary_a, 1);
    let mut seen: Vec<Vec<Hop>> = Vec::new();
    for _ in 0..12 {
        let reply = caller.call(HEALTH_CHECK, &TO_ONE, DEADLINE).await.unwrap();
        seen.push(parse_all(&reply.hops())[2..].to_vec());
    }
    for hops in &seen {
        assert!(hops[0].residence() >= 25.0, "{hops:?}");
    }
    let lowest = |hop: usize| seen.iter().map(|hops| hops[hop].residence()).fold(f64::MAX, f64::min);
    assert!(lowest(0) < 27.0, "25 ms read {}", lowest(0));
    assert!(lowest(1) < 5.0, "hop a was not slowed, it shows {}", lowest(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_stream_both_ways_through_two_hops() {
    let (at, _claim) = echo::addresses();
    let _upstream = H2Echo::start(at.service_b, None).await;
    forward("b", at.mediary_b, at.service_b).await;
    forward("a", at.mediary_a, at.mediary_b).await;
    // Far beyond every window on the way, and no multiple of a frame.
    let body: Vec<u8> = (0..9_000_001_u32).map(|i| (i % 251) as u8).collect();
    let body = Bytes::from(body);
    let reply = Caller::new(at.mediary_a, 1).call_with(HEALTH_CHECK, &TO_ONE, body.clone(), DEADLINE).await;
    let reply = reply.unwrap();
    assert_eq!(reply.grpc_status(), Some(0));
    assert!(reply.body == body, "{} bytes came back of {}", reply.body.len(), body.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_connections_are_shared_and_replaced_after_goaway_and_close() {
    let (at, _claim) = echo::addresses();
    let upstream = H2Echo::start(at.service_b, Some(5)).await;
    forward("a", at.mediary_a, at.service_b).await;
    let caller = Caller::new(at.mediary_a, 1);
    for call in 0..12 {
        let reply = caller.call(HEALTH_CHECK, &TO_ONE, DEADLINE).await.unwrap();
        assert_eq!(reply.grpc_status(), Some(0), "call {call}: {reply:?}");
    }
    let connections = upstream.seen.connections.load(Ordering::SeqCst);
    assert_eq!(connections, 3, "12 calls over connections of 5 calls each");

    // The upstream goes away with all its connections, and comes back.
    upstream.stop().await;
    let down = caller.call(HEALTH_CHECK, &TO_ONE, DEADLINE).await.unwrap();
    assert_eq!(down.grpc_status(), Some(14), "{down:?}");
    let message = down.grpc_message();
    assert!(message.starts_with("a: ") && message.contains(&at.service_b.to_string()), "{message}");
    let _back = H2Echo::start(at.service_b, None).await;
    let reply = caller.call(HEALTH_CHECK, &TO_ONE, DEADLINE).await.unwrap();
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    assert!(parse_all(&reply.hops())[2].c.is_some(), "it had to connect: {:?}", reply.hops());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_route_is_unimplemented_and_names_the_hop() {
    let (at, _claim) = echo::addresses();
    forward("a", at.mediary_a, at.service_b).await;
    let reply = Caller::new(at.mediary_a, 1).call(HEALTH_CHECK, &[("x-to", "two")], DEADLINE).await.unwrap();
    assert_eq!(reply.grpc_status(), Some(12), "{reply:?}");
    assert_eq!(reply.grpc_message(), "a: no route for x-to=two");
    let hops = parse_all(&reply.hops());
    assert!(hops.len() == 1 && hops[0].u.is_none(), "{hops:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_never_answers_is_given_up_in_time() {
    let (at, _claim) = echo::addresses();
    let upstream = H2Echo::start(at.service_b, None).await;
    forward("a", at.mediary_a, at.service_b).await;
    let caller = Caller::new(at.mediary_a, 1);
    let reply = caller.call(HEALTH_CHECK, &[("x-to", "one"), ("x-hang", "1")], DEADLINE).await.unwrap();
    assert_eq!(reply.grpc_status(), Some(4), "{reply:?}");
    assert!(reply.total >= Duration::from_secs(2), "{:?}", reply.total);
    wait_for_reset(&upstream).await;
    // The connection is still good for others.
    let reply = caller.call(HEALTH_CHECK, &TO_ONE, DEADLINE).await.unwrap();
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    assert_eq!(upstream.seen.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_downstream_that_gives_up_is_passed_on_as_a_reset() {
    let (at, _claim) = echo::addresses();
    let upstream = H2Echo::start(at.service_b, None).await;
    forward("a", at.mediary_a, at.service_b).await;
    let caller = Caller::new(at.mediary_a, 1);
    let gave_up = caller.call(HEALTH_CHECK, &[("x-to", "one"), ("x-hang", "1")], Duration::from_millis(300));
    assert!(gave_up.await.is_err());
    wait_for_reset(&upstream).await;
    assert_eq!(ask(at.mediary_a, ForwarderRequest::Get).await.cancelled, 1);
}

/// Waits until the upstream has seen a stream being reset.
async fn wait_for_reset(upstream: &H2Echo) {
    let reset = async {
        while upstream.seen.resets.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Less than the forwarder's own patience of 2 s: it must not be what ends the stream.
    tokio::time::timeout(Duration::from_millis(1500), reset).await.expect("the upstream sees a reset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_at_once_share_few_connections() {
    let (at, _claim) = echo::addresses();
    let upstream = H2Echo::start(at.service_b, None).await;
    forward("a", at.mediary_a, at.service_b).await;
    let caller = std::sync::Arc::new(Caller::new(at.mediary_a, 2));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let caller = caller.clone();
        calls.spawn(async move { caller.call(HEALTH_CHECK, &TO_ONE, DEADLINE).await.unwrap().grpc_status() });
    }
    assert!(calls.join_all().await.into_iter().all(|status| status == Some(0)));
    assert_eq!(upstream.seen.requests.load(Ordering::SeqCst), 100);
    let connections = upstream.seen.connections.load(Ordering::SeqCst);
    assert!(connections <= 2, "{connections} connections for 100 requests");
}
