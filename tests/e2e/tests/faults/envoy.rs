//! What Envoy says of its upstream. It knows gRPC: where nginx and HAProxy write 502, 503 and 504, it answers with
//! HTTP 200 and a status in trailers, as a service does. Its `server` header tells them apart.

use crate::case::{Case, Ends, assert_one_shot, assert_says, at, bad, ends, one_shot};
use crate::servers::envoy;
use insight_e2e::agent::Site;
use insight_e2e::equipment::{Program, has};
use insight_e2e::peers::grpc::{Deed, Peer};
use insight_e2e::peers::raw::RawPeer;
use insight_e2e::peers::tcp::{Closing, Silent};
use insight_lab::skip::is_long;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// As a gRPC service would say it.
const STATUS: Ends = ends("status", "response", "UNAVAILABLE");
const MISROUTED: Ends = ends("misrouted", "response", "UNIMPLEMENTED");

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}

/// A listener whose one route leads everything below `prefix` to the cluster of its name.
fn listener(name: &str, address: SocketAddr, prefix: &str) -> Value {
    let route = json!({ "match": { "prefix": prefix }, "route": { "cluster": name, "timeout": "0.15s" } });
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "HTTP2",
        "route_config": { "virtual_hosts": [{ "name": name, "domains": ["*"], "routes": [route] }] },
        "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": { "@type": router } }],
    });
    let filter = json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager });
    json!({ "name": name, "address": socket(address), "filter_chains": [{ "filters": [filter] }] })
}

/// A cluster of one upstream that speaks HTTP/2, or of none. It takes so many requests at once.
fn cluster(name: &str, upstream: Option<SocketAddr>, requests: u32) -> Value {
    let endpoints = upstream.map(|upstream| json!({ "endpoint": { "address": socket(upstream) } }));
    let protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.1s",
        "circuit_breakers": { "thresholds": [{ "max_requests": requests }] },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": endpoints.into_iter().collect::<Vec<_>>() }],
        },
        "typed_extension_protocol_options": {
            protocol: {
                "@type": format!("type.googleapis.com/{protocol}"),
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
    })
}

#[test]
fn envoy_about_its_upstream_is_a_status_in_its_own_words() {
    let name = "envoy_about_its_upstream_is_a_status_in_its_own_words";
    if !is_long(name) || !has(name, &[Program::Envoy]) {
        return;
    }
    let site = Site::new();
    let [silent, closing, noise, hanging, alive, nobody] =
        [20, 21, 22, 23, 24, 25].map(|host| at(&site, host));
    let (_silent, _closing) = (Silent::start(silent), Closing::start(closing));
    let (_hanging, _alive) = (Peer::start(hanging, |_| Deed::Hang), Peer::healthy(alive));
    // A double: an upstream that does not speak HTTP/2.
    let _noise = RawPeer::start(noise, |talk| {
        talk.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        talk.hang()
    });
    // Name, upstream, requests that it takes at once, what Envoy says.
    let faults = [
        ("none", None, 100, "no healthy upstream"),
        ("dead", Some(nobody), 100, "remote connection failure"),
        ("closes", Some(closing), 100, "connection termination"),
        ("garbage", Some(noise), 100, "protocol error"),
        ("stuck", Some(silent), 100, "upstream request timeout"),
        ("slow", Some(hanging), 100, "upstream request timeout"),
        ("full", Some(alive), 0, "overflow"),
    ];
    let places: Vec<_> = (3_u8..).zip(faults).map(|(host, fault)| (at(&site, host), fault)).collect();
    let [works, elsewhere] = [15, 16].map(|host| at(&site, host));
    let mut listeners: Vec<_> =
        places.iter().map(|(place, (name, ..))| listener(name, *place, "/")).collect();
    listeners.push(listener("works", works, "/"));
    listeners.push(listener("elsewhere", elsewhere, "/another.Service/"));
    let mut clusters: Vec<_> =
        faults.iter().map(|(name, upstream, requests, _)| cluster(name, *upstream, *requests)).collect();
    clusters.extend(["works", "elsewhere"].map(|name| cluster(name, Some(alive), 100)));
    let listen: Vec<_> = places.iter().map(|(place, _)| *place).chain([works, elsewhere]).collect();
    let _envoy = envoy(&site, &listen, &listeners, &clusters);
    let through = one_shot(&site, &works.to_string(), &[]);
    assert_eq!(through["exit_code"], 0, "nothing is wrong with the way through: {through}");

    let mut case = Case::start(&site, |config| {
        let config = bad(config, "elsewhere", &elsewhere.to_string(), "");
        places.iter().fold(config, |config, (place, (name, ..))| bad(config, name, &place.to_string(), ""))
    });
    for (_, (name, _, _, said)) in &places {
        let detail = case.assert_fails(name, STATUS);
        assert_says(&detail, &[said, "server: \"envoy\"", "the gRPC-aware proxy"]);
    }
    assert_says(
        &case.assert_fails("elsewhere", MISROUTED),
        &["server: \"envoy\"", "check method, authority"],
    );
    case.assert_good_goes_on();
    for (place, _) in &places {
        assert_one_shot(&site, &place.to_string(), &[], STATUS);
    }
    assert_one_shot(&site, &elsewhere.to_string(), &[], MISROUTED);
}
