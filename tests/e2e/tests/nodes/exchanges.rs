//! The smallest requests there are, through real proxies.

use insight_e2e::exposition::Exposition;
use insight_e2e::nodes::Nodes;
use insight_e2e::path::scrape;
use insight_lab::{Forwarder, Lab, inside};
use std::time::Duration;
use tonic::Request;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Calls that are sent.
const CALLS: u32 = 200;

/// Calls between two silences. A machine that takes the CPU away between the two writes of a request makes
/// what follows doubtful, by design, and for milliseconds of that only silence ends the doubt: health
/// checks of a real service are seconds apart, and one of them costs the rest of its group here.
const GROUP: u32 = 5;

/// Longer than the silence that ends every doubt.
const SILENCE: Duration = Duration::from_millis(250);

/// A machine that does so in every try is too busy for anybody.
const TRIES: u32 = 3;

/// Sends empty health checks along the path, one after the other, from within insight-eu.
fn health_checks(lab: &Lab) {
    let target = lab.addresses().mediary_a;
    let calls = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let channel = Endpoint::from_shared(format!("http://{target}")).unwrap().connect().await.unwrap();
            let mut client = HealthClient::new(channel);
            for call in 0..CALLS {
                let mut request = Request::new(HealthCheckRequest { service: String::new() });
                request.metadata_mut().insert("x-target-region", "sg".parse().unwrap());
                request.metadata_mut().insert("x-target-service", "business".parse().unwrap());
                client.check(request).await.unwrap();
                let last_of_group = call % GROUP == GROUP - 1;
                tokio::time::sleep(if last_of_group { SILENCE } else { Duration::from_millis(5) }).await;
            }
        });
    };
    inside(&lab.place("insight-eu").unwrap().netns_path, calls).unwrap();
}

/// Exchanges that a node has recorded so far, as (turnarounds of `before`, responses of `behind`).
fn recorded(lab: &Lab, node: &str, before: &str, behind: &str) -> [f64; 2] {
    let shown: Exposition = scrape(lab.agent(node).unwrap().metrics);
    let of = |family: &str, peer: &str| shown.sum(family, &[("peer", peer)]).unwrap_or(0.0);
    [
        of("insight_socket_turnaround_seconds_count", before),
        of("insight_socket_response_seconds_count", behind),
    ]
}

fn nearly_every_health_check_is_recorded(test: &str, forwarder: Forwarder) {
    let Some(nodes) = Nodes::start(test, forwarder, |options| {
        // Nothing but these calls.
        options.start_agents = false;
        options.link_probes = false;
    }) else {
        return;
    };
    let hops = [("mediary-a", "insight-eu", "mediary-b"), ("mediary-b", "mediary-a", "gateway-b")];
    let all = |lab: &Lab| hops.map(|(node, before, behind)| recorded(lab, node, before, behind));
    std::thread::sleep(Duration::from_secs(2));
    let mut missing = Vec::new();
    for _ in 0..TRIES {
        let first = all(&nodes.lab);
        health_checks(&nodes.lab);
        std::thread::sleep(Duration::from_secs(2));
        let last = all(&nodes.lab);
        println!("{forwarder}: turnarounds and responses of {CALLS}: {first:?} {last:?}");
        missing.clear();
        for ((node, ..), (first, last)) in hops.iter().zip(first.iter().zip(last)) {
            for (what, (first, last)) in ["turnarounds", "responses"].iter().zip(first.iter().zip(last)) {
                let share = (last - first) / f64::from(CALLS);
                assert!(share <= 1.02, "{node}: {share} of the {what} are recorded");
                if share < 0.95 {
                    missing.push(format!("{node}: {share} of the {what} are recorded"));
                }
            }
        }
        if missing.is_empty() {
            break;
        }
    }
    assert!(missing.is_empty(), "in each of {TRIES} tries, and in the last one: {missing:?}");
    nodes.lab.stop().unwrap();
}

#[test]
fn nearly_every_health_check_through_nginx_is_recorded() {
    nearly_every_health_check_is_recorded(
        "nearly_every_health_check_through_nginx_is_recorded",
        Forwarder::Nginx,
    );
}

#[test]
fn nearly_every_health_check_through_haproxy_is_recorded() {
    nearly_every_health_check_is_recorded(
        "nearly_every_health_check_through_haproxy_is_recorded",
        Forwarder::Haproxy,
    );
}
