//! What peers do to connections: GOAWAY, RST, RST_STREAM and changed SETTINGS.

use crate::case::{Case, assert_no_latency, assert_one_shot, assert_says, at, bad, ends, events};
use crate::servers::nginx;
use insight_e2e::agent::Site;
use insight_e2e::equipment::{Program, has};
use insight_e2e::peers::grpc::Peer;
use insight_e2e::peers::raw::{INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, RawPeer, SERVING, kind};

const ENHANCE_YOUR_CALM: u32 = 11;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

#[test]
fn a_graceful_goaway_after_each_request_of_nginx_costs_no_sample() {
    if !has("a_graceful_goaway_after_each_request_of_nginx_costs_no_sample", &[Program::Nginx]) {
        return;
    }
    let site = Site::new();
    let (storm, alive) = (at(&site, 3), at(&site, 10));
    let _alive = Peer::healthy(alive);
    let blocks = format!(
        "upstream alive {{ server {alive}; keepalive 4; }}\n\
         server {{ listen {storm} http2; keepalive_requests 1; location / {{ grpc_pass grpc://alive; }} }}"
    );
    let _nginx = nginx(&site, &[storm], &blocks);
    let mut case =
        Case::start(&site, |config| bad(config, "storm", &storm.to_string(), "interval = \"50ms\""));
    let ok = [("probe", "storm"), ("connection", "reused"), ("status", "OK")];
    case.agent.wait_for("60 answers", |seen| {
        seen.sum("insight_probe_results_total", &ok).filter(|count| *count >= 60.0)
    });
    let seen = case.assert_good_goes_on();
    assert_eq!(seen.sum("insight_probe_failures_total", &ok[..1]), None);
    let goaways = events(&seen, "storm", "goaway", "no_error");
    let (answers, opened) = (
        seen.sum("insight_probe_results_total", &ok).unwrap(),
        seen.sum("insight_probe_connections_total", &[ok[0], ok[1]]).unwrap(),
    );
    assert!(goaways >= 60.0, "{goaways} GOAWAYs");
    assert!(opened >= answers, "{opened} connections for {answers} answers, one of each");
    let events: Vec<_> = seen.samples("insight_probe_connection_events_total", &ok[..1]).collect();
    assert!(events.iter().all(|event| event.has(&[("reason", "no_error")])), "what else? {events:?}");
}

#[test]
fn hostile_ends_of_connections_are_told_apart() {
    let site = Site::new();
    let [at_once, graceful, reset, stream, refuses] = [3, 4, 5, 6, 7].map(|host| at(&site, host));
    // Doubles, as no server does this on demand.
    let at_once_peer = RawPeer::start(at_once, |talk| {
        talk.greet(&[])?;
        talk.goaway(0, INTERNAL_ERROR, b"go away")?;
        talk.keep_alive()
    });
    let _graceful = RawPeer::start(graceful, |talk| {
        talk.greet(&[])?;
        talk.goaway(0, 0, b"")?;
        talk.keep_alive()
    });
    let _reset = RawPeer::start(reset, |talk| {
        talk.greet(&[])?;
        let stream = talk.request()?;
        talk.good_headers(stream)?;
        // Half a message, which the caller has read before the RST can overtake it.
        talk.send(kind::DATA, 0, stream, &SERVING[..3])?;
        talk.pause(std::time::Duration::from_millis(50))?;
        Err(talk.reset())
    });
    let _stream = RawPeer::start(stream, |talk| {
        talk.greet(&[])?;
        loop {
            let stream = talk.request()?;
            talk.good_headers(stream)?;
            talk.send(kind::RST_STREAM, 0, stream, &INTERNAL_ERROR.to_be_bytes())?;
        }
    });
    let _refuses = RawPeer::start(refuses, |talk| {
        talk.greet(&[])?;
        loop {
            let stream = talk.request()?;
            talk.send(kind::RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes())?;
        }
    });
    let faults =
        [("at-once", at_once, "goaway", "INTERNAL_ERROR"), ("graceful", graceful, "goaway", "NO_ERROR")];
    let exact = [
        ("reset", reset, ends("reset", "response", "UNAVAILABLE"), "the connection broke"),
        ("stream", stream, ends("reset", "response", "INTERNAL"), "the stream was reset"),
        ("refuses", refuses, ends("reset", "wait", "UNAVAILABLE"), "the stream was reset"),
    ];
    let mut case = Case::start(&site, |config| {
        let addresses = faults.map(|fault| (fault.0, fault.1)).into_iter();
        let addresses = addresses.chain(exact.map(|fault| (fault.0, fault.1)));
        addresses.fold(config, |config, (name, address)| bad(config, name, &address.to_string(), ""))
    });
    for (name, _, how, says) in exact {
        assert_says(&case.assert_fails(name, how), &[says]);
    }
    for (name, _, class, _) in faults {
        // Whether it comes before the request or after it is up to the network.
        let of = [("probe", name), ("class", class)];
        case.agent.wait_for("three failures", |seen| {
            seen.sum("insight_probe_failures_total", &of).filter(|count| *count >= 3.0)
        });
        let seen = case.agent.scrape();
        let failures: Vec<_> = seen.samples("insight_probe_failures_total", &of[..1]).collect();
        let fits = |phase: &str| ["request", "wait"].contains(&phase);
        assert!(failures.iter().all(|f| f.has(&of) && fits(&f.labels["phase"])), "{failures:?}");
        for connection in ["reused", "fresh"] {
            assert_no_latency(&seen, name, connection);
        }
    }
    let seen = case.assert_good_goes_on();
    for (name, event, reason) in [
        ("at-once", "goaway", "internal_error"),
        ("graceful", "goaway", "no_error"),
        ("stream", "rst_stream", "internal_error"),
        ("refuses", "rst_stream", "refused_stream"),
    ] {
        assert!(events(&seen, name, event, reason) >= 3.0, "{name}: {event} {reason}");
        let of = [("probe", name)];
        let others: Vec<_> = seen
            .samples("insight_probe_connection_events_total", &of)
            .filter(|sample| !sample.has(&[("event", event), ("reason", reason)]))
            .collect();
        assert!(others.is_empty(), "{name}: {others:?}");
    }
    // At most two attempts a sample, however eager the peer is to get rid of them.
    let samples = seen.sum("insight_probe_results_total", &[("probe", "at-once")]).unwrap();
    assert!(at_once_peer.connections() as f64 <= 2.0 * samples + 20.0, "{}", at_once_peer.connections());
    for (_, address, how, _) in exact {
        assert_one_shot(&site, &address.to_string(), &[], how);
    }
}

#[test]
fn settings_that_change_are_counted_by_parameter_and_cost_nothing() {
    let site = Site::new();
    let changing = at(&site, 3);
    // A double that announces another window and another limit with each answer.
    let _peer = RawPeer::start(changing, |talk| {
        talk.greet(&[(INITIAL_WINDOW_SIZE, 65_535)])?;
        for window in (65_536..).step_by(16) {
            let stream = talk.request()?;
            talk.settings(&[(INITIAL_WINDOW_SIZE, window), (MAX_CONCURRENT_STREAMS, 100)])?;
            talk.serving(stream)?;
        }
        Ok(())
    });
    let mut case = Case::start(&site, |config| bad(config, "changing", &changing.to_string(), ""));
    case.agent.wait_for("changed settings", |seen| {
        (events(seen, "changing", "settings", "initial_window_size") >= 5.0
            && events(seen, "changing", "settings", "max_concurrent_streams") >= 5.0)
            .then_some(())
    });
    let seen = case.assert_good_goes_on();
    assert_eq!(seen.sum("insight_probe_failures_total", &[("probe", "changing")]), None);
    // The first SETTINGS of a connection are its beginning, and no change.
    let opened = crate::case::one_shot(&site, &changing.to_string(), &["--no-ping"]);
    let counted = opened["connection_events"].as_array().unwrap();
    let of = |connection: &str| -> u64 {
        let of = counted.iter().filter(|event| event["connection"] == connection);
        of.filter(|event| event["reason"] == "initial_window_size")
            .map(|e| e["count"].as_u64().unwrap())
            .sum()
    };
    assert_eq!((of("fresh"), of("reused")), (1, 2), "{counted:?}");
}

#[test]
fn a_peer_that_asks_for_calm_without_pings_is_a_goaway() {
    let site = Site::new();
    let busy = at(&site, 3);
    // A double: it answers each request so, and was sent no PING.
    let _busy = RawPeer::start(busy, |talk| {
        talk.greet(&[])?;
        let stream = talk.request()?;
        talk.goaway(stream, ENHANCE_YOUR_CALM, b"too many requests")?;
        talk.hang()
    });
    let mut case =
        Case::start(&site, |config| bad(config, "busy", &busy.to_string(), "ping = false\ndrain = \"0s\""));
    case.agent.wait_for("failures", |seen| {
        seen.sum("insight_probe_failures_total", &[("probe", "busy")]).filter(|count| *count >= 3.0)
    });
    let seen = case.assert_good_goes_on();
    assert!(events(&seen, "busy", "goaway", "enhance_your_calm") >= 3.0);
    assert_eq!(events(&seen, "busy", "goaway", "too_many_pings"), 0.0);
    assert!(!seen.families.contains_key("insight_probe_ping_interval_seconds"), "it was not about PINGs");
}
