//! What hops write into answers comes from machines that nobody here controls.

use crate::pair::{BAD, Pair, assert_says, bad_address};
use insight_e2e::agent::Site;
use insight_e2e::exposition::Exposition;
use insight_e2e::peers::grpc::{Peer, Reply};
use insight_e2e::peers::insight::measured;

const HOP: &str = "x-insight-hop";

/// A pair whose bad peer is a receiver behind the hops "m" and "g", with `add` done to its answers.
fn receiver(site: Site, add: fn(Reply) -> Reply) -> (Pair, Peer) {
    let address = bad_address(&site);
    let peer = Peer::start(address, move |call| {
        add(measured(call).unwrap_or_else(|| Reply::grpc_status(3, "not a Measure"))).into()
    });
    let route = format!("[[route]]\nname = \"r\"\naddress = \"{address}\"\nhops = [\"m\", \"g\"]");
    let probe = "[[probe]]\nname = \"bad\"\ntarget = \"far\"\nmode = \"white-box\"\nroute = \"r\"\n\
                 interval = \"50ms\"\ndeadline = \"1s\"\ndrain = \"1s\"\nconnections = [\"reused\"]";
    let pair = Pair::start(site, |config| config.tables(&route).tables(probe));
    (pair, peer)
}

/// Waits until ten answers were good and a window has ended, and asserts that none was bad.
fn good_answers(pair: &mut Pair) -> Exposition {
    pair.agent.wait_for("good answers and their figure", |seen| {
        let ok = seen.sum("insight_probe_results_total", &[BAD, ("status", "OK")])?;
        seen.value("cross_region_latency_ms", &[("target", "far")])?;
        (ok >= 10.0).then_some(())
    });
    let seen = pair.assert_good_goes_on();
    assert_eq!(seen.sum("insight_probe_failures_total", &[BAD]), None, "a header made a probe fail");
    let durations = seen.histogram("insight_probe_duration_seconds", &[BAD]).unwrap();
    assert!(durations.count >= 10.0, "{durations:?}");
    seen
}

fn lost(seen: &Exposition, loss: &str) -> f64 {
    seen.sum("insight_lost_total", &[("measurement", "hop_headers"), ("loss", loss)]).unwrap_or(0.0)
}

/// The hops that have an entry in the ledger.
fn hops(seen: &Exposition) -> Vec<String> {
    let entries = seen.samples("insight_path_ledger_seconds", &[BAD]);
    let mut hops: Vec<_> =
        entries.filter_map(|e| e.labels["segment"].strip_prefix("hop:").map(str::to_owned)).collect();
    hops.sort();
    hops
}

#[test]
fn malformed_hop_headers_are_counted_and_the_good_ones_beside_them_are_used() {
    let (mut pair, _peer) = receiver(Site::new(), |reply| {
        reply
            .header(HOP, b"g;d=0.02;u=0.01")
            .header(HOP, b"m;d=fast;u=-")
            .header(HOP, b";;;=,=,\"")
            .header(HOP, b"m\xff\xfe;d=1")
            .header(HOP, b"NaN;d=NaN;u=1e999")
    });
    let seen = good_answers(&mut pair);
    assert!(lost(&seen, "malformed") >= 30.0, "three or more in each of ten answers");
    assert_eq!(hops(&seen), ["g"]);
}

#[test]
fn a_thousand_hop_values_are_capped_and_counted() {
    let (mut pair, _peer) = receiver(Site::new(), |reply| {
        // The far ones first: what is left out is the far end, so "m" and "g" are kept.
        let reply = (0..1000).fold(reply, |reply, hop| reply.header(HOP, format!("x{hop};d=1").as_bytes()));
        reply.header(HOP, b"g;d=0.02;u=0.01").header(HOP, b"m;d=0.03;u=0.025")
    });
    let seen = good_answers(&mut pair);
    assert!(lost(&seen, "capped") >= 900.0, "{} capped", lost(&seen, "capped"));
    assert!(lost(&seen, "unknown_hop") > 0.0);
    assert_eq!(hops(&seen), ["g", "m"]);
    let strangers: Vec<_> =
        seen.families.values().flat_map(|f| &f.samples).filter(|s| is_stranger(s)).collect();
    assert!(strangers.is_empty(), "names that the route does not list became labels: {strangers:?}");
}

fn is_stranger(sample: &insight_e2e::exposition::Sample) -> bool {
    sample.labels.values().any(|value| value.contains("hop:x") || value.contains("x1"))
}

#[test]
fn non_ascii_values_on_a_black_box_probe_are_counted_too() {
    let site = Site::new();
    let address = bad_address(&site);
    let _peer = Peer::start(address, |_| Reply::serving().header(HOP, b"\xf0\x9f\x90\x8c;d=1").into());
    let address = address.to_string();
    let mut pair = Pair::start(site, |config| config.probe("bad", "far", &address, ""));
    let seen = good_answers(&mut pair);
    assert!(lost(&seen, "malformed") >= 10.0);
}

#[test]
fn a_header_list_of_300_kib_costs_its_own_probe_only() {
    let (mut pair, peer) = receiver(Site::new(), |reply| {
        // Values that differ, so that HPACK does not shrink them.
        (0..300).fold(reply, |reply, n| reply.header(HOP, format!("{n:04}{}", "x".repeat(1020)).as_bytes()))
    });
    let detail = pair.assert_fails_as("protocol", "INTERNAL");
    assert_says(
        &detail,
        &[
            "call /insight.v1.Probe/Measure through route \"r\"",
            "the answer has more than 256 KiB of headers: check what the hops add to it",
        ],
    );
    // Failing again is certain, so the call is not repeated behind the schedule's back.
    let seen = pair.agent.scrape();
    let ended = seen.sum("insight_probe_results_total", &[BAD]).unwrap();
    let called = peer.calls() as f64;
    assert!(called <= ended + 3.0, "{called} calls for {ended} samples");
}
