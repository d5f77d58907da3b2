//! A whole response: each line of the input is one header or trailer value of every source.
//! Beyond "no panic": names are unique, caps hold, and no figure is out of its range.
#![no_main]

use http::{HeaderMap, HeaderValue};
use insight_agent::collect::probe::hop_headers::insight_hop::parse_insight_hop;
use insight_agent::collect::probe::hop_headers::{MAX_HOPS, parse_service_trailer, read_hop_evidence};
use insight_agent::model::plan::{RoutePlan, ServerTimingMeaning, TimingFigure};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::sync::LazyLock;

static ROUTE: LazyLock<RoutePlan> = LazyLock::new(|| RoutePlan {
    name: "fuzz".into(),
    host: "127.0.0.1".into(),
    port: 1,
    dial: Default::default(),
    authority: "fuzz".into(),
    metadata: Vec::new(),
    tls: None,
    origin: "origin".into(),
    hops: vec!["mediary".into(), "gateway".into()],
    server_timing: [(
        "gw".to_owned(),
        ServerTimingMeaning { hop: "gateway".into(), figure: TimingFigure::Upstream },
    )]
    .into(),
    envoy_hop: Some("mediary".into()),
    kong_hop: Some("gateway".into()),
    load_metrics: vec!["queue".into()],
});

const SOURCES: [&str; 9] = [
    "x-insight-hop",
    "server-timing",
    "x-envoy-upstream-service-time",
    "x-kong-upstream-latency",
    "x-kong-proxy-latency",
    "x-kong-response-latency",
    "grpc-server-stats-bin",
    "endpoint-load-metrics-bin",
    "endpoint-load-metrics",
];

fuzz_target!(|data: &[u8]| {
    parse_insight_hop(data);
    parse_service_trailer(data);

    let mut headers = HeaderMap::new();
    let mut trailers = HeaderMap::new();
    for (index, line) in data.split(|byte| *byte == b'\n').take(32).enumerate() {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        let map = if index % 4 == 3 { &mut trailers } else { &mut headers };
        for name in SOURCES {
            map.append(name, value.clone());
        }
    }
    let evidence = read_hop_evidence(&headers, Some(&trailers), &ROUTE);
    assert!(evidence.hops.len() <= MAX_HOPS);
    let names: BTreeSet<_> = evidence.hops.iter().map(|hop| &hop.name).collect();
    assert_eq!(names.len(), evidence.hops.len());
    for figure in evidence.hops.iter().flat_map(|hop| [hop.downstream, hop.upstream, hop.connect]).flatten() {
        assert!((0..=3_600_000_000_000).contains(&figure.ns));
    }
});
