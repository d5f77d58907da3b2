//! What holds for every response, however hostile.

use super::envoy::parse_envoy_upstream;
use super::insight_hop::{parse_insight_hop, render_insight_hop};
use super::kong::{self, parse_kong_latency};
use super::orca::{self, parse_orca_binary, parse_orca_text};
use super::server_stats::parse_server_stats;
use super::server_timing::parse_server_timing;
use super::tests::{headers, route};
use super::{MAX_HOPS, parse_service_trailer, read_hop_evidence};
use crate::model::figure::Figure;
use crate::model::hop::{HopEvidence, HopSource};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// Text that looks enough like a header to reach the depths of a parser.
const NEARLY: &str = r#"[ad"\\=;:,. \-_s019q]{0,60}"#;

/// One element without a comma: mostly broken, and never a hop called `near` or `far`.
const GARBAGE: &str = r#"[!?/@"\\=;: a-d0-9]{0,24}[!?/@"\\]?"#;

/// Every header that is read.
const HEADERS: [&str; 9] = [
    HopSource::InsightHop.as_str(),
    HopSource::ServerTiming.as_str(),
    HopSource::EnvoyUpstream.as_str(),
    kong::UPSTREAM,
    kong::PROXY,
    kong::RESPONSE,
    HopSource::ServerStats.as_str(),
    orca::BINARY,
    HopSource::Orca.as_str(),
];

fn evidence_of(lines: &[Vec<u8>]) -> HopEvidence {
    let mut map = HeaderMap::new();
    for line in lines {
        for name in HEADERS {
            if let Ok(value) = HeaderValue::from_bytes(line) {
                map.append(name, value);
            }
        }
    }
    read_hop_evidence(&map, Some(&map), &route(&["a", "d"]))
}

fn check_shape(evidence: &HopEvidence) {
    assert!(evidence.hops.len() <= MAX_HOPS);
    let names: BTreeSet<_> = evidence.hops.iter().map(|hop| &hop.name).collect();
    assert_eq!(names.len(), evidence.hops.len(), "a hop name appears twice");
    let of_hops = evidence.hops.iter().flat_map(|hop| [hop.downstream, hop.upstream, hop.connect]);
    let of_service = [evidence.stats.server, evidence.stats.load_balancer];
    for figure in of_hops.chain(of_service).flatten() {
        assert!((0..=3_600_000_000_000).contains(&figure.ns), "{figure:?}");
    }
    let load = &evidence.load;
    let named = load.named.iter().map(|(_, figure)| *figure);
    for figure in load.ratios().into_iter().chain(load.rates()).flatten().chain(named) {
        assert!(figure.is_finite() && figure >= 0.0, "{load:?}");
    }
}

fn covers(figure: Option<Figure>, truth: Option<Duration>) -> bool {
    match (figure, truth) {
        (Some(figure), Some(truth)) => {
            let truth = i64::try_from(truth.as_nanos()).unwrap();
            (truth - figure.ns).unsigned_abs() <= figure.below_ns.min(figure.above_ns)
        }
        (figure, truth) => figure.is_none() && truth.is_none(),
    }
}

fn duration() -> impl Strategy<Value = Option<Duration>> {
    proptest::option::of((0_u64..3_600_000_000_000).prop_map(Duration::from_nanos))
}

/// A figure that every reader of decimals gets exactly; serde_json may miss others by a last bit.
fn binary_fraction() -> impl Strategy<Value = Option<f64>> {
    proptest::option::of((0_u32..1 << 24).prop_map(|n| f64::from(n) / 1024.0))
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in vec(any::<u8>(), 0..200), lines in vec(vec(any::<u8>(), 0..200), 0..4)) {
        parse_insight_hop(&bytes);
        let _ = parse_server_timing(&bytes);
        let _ = parse_envoy_upstream(&bytes);
        parse_service_trailer(&bytes);
        let _ = parse_kong_latency(&bytes);
        parse_server_stats(&bytes);
        parse_orca_text(&bytes, &["queue".to_owned()]);
        parse_server_stats(STANDARD.encode(&bytes).as_bytes());
        parse_orca_binary(STANDARD.encode(&bytes).as_bytes(), &["queue".to_owned()]);
        check_shape(&evidence_of(&lines));
    }

    #[test]
    fn no_nearly_right_text_makes_a_parser_panic(lines in vec(NEARLY, 0..6)) {
        for line in &lines {
            parse_insight_hop(line.as_bytes());
            parse_service_trailer(line.as_bytes());
        }
        let lines: Vec<_> = lines.into_iter().map(String::into_bytes).collect();
        check_shape(&evidence_of(&lines));
    }

    #[test]
    fn what_is_rendered_comes_back_within_its_bound(
        name in "[A-Za-z0-9._-]{1,64}",
        downstream in (0_u64..3_600_000_000_000).prop_map(Duration::from_nanos),
        upstream in duration(),
        connect in duration(),
    ) {
        let parsed = parse_insight_hop(render_insight_hop(&name, Some(downstream), upstream, connect).as_bytes());
        prop_assert!(!parsed.malformed);
        let hop = parsed.timing.unwrap();
        prop_assert_eq!(hop.name, name);
        prop_assert!(covers(hop.downstream, Some(downstream)));
        prop_assert!(covers(hop.upstream, upstream));
        prop_assert!(covers(hop.connect, connect));
    }

    #[test]
    fn the_order_of_writing_is_the_reverse_of_the_path(
        names in vec("[a-z]{1,8}", 1..40),
        joined in vec(any::<bool>(), 40),
    ) {
        let mut lines: Vec<String> = Vec::new();
        for (name, joined) in names.iter().zip(joined) {
            match lines.last_mut() {
                Some(line) if joined => *line += &format!(", {name};d=1"),
                _ => lines.push(format!("{name};d=1")),
            }
        }
        let pairs: Vec<_> = lines.iter().map(|line| ("x-insight-hop", line.as_str())).collect();
        let evidence = read_hop_evidence(&headers(&pairs), None, &route(&[]));
        let mut seen = BTreeSet::new();
        let distinct: Vec<_> = names.iter().rev().filter(|name| seen.insert(*name)).collect();
        let found: Vec<_> = evidence.hops.iter().map(|hop| &hop.name).collect();
        prop_assert_eq!(found, distinct.iter().take(MAX_HOPS).copied().collect::<Vec<_>>());
        let count = |counts: &[(HopSource, u32)]| counts.first().map_or(0, |(_, count)| *count as usize);
        let used = evidence.hops.len() + count(&evidence.malformed) + count(&evidence.capped);
        prop_assert_eq!(used, names.len(), "a value was neither used nor counted");
    }

    #[test]
    fn garbage_does_not_disturb_its_neighbours(
        before in GARBAGE,
        between in GARBAGE,
        after in GARBAGE,
        separate in any::<bool>(),
    ) {
        let good = ["near;d=12.5;u=\"1, 2 : -\"", "far;u=\"3\";d=4"];
        let parts = [before.as_str(), good[1], &between, good[0], &after];
        let joined = parts.join(", ");
        let lines: Vec<_> = if separate { parts.to_vec() } else { vec![joined.as_str()] };
        let pairs: Vec<_> = lines.into_iter().map(|line| ("x-insight-hop", line)).collect();
        let evidence = read_hop_evidence(&headers(&pairs), None, &route(&["near", "far"]));
        for (index, text) in good.into_iter().enumerate() {
            let alone = parse_insight_hop(text.as_bytes()).timing.unwrap();
            prop_assert_eq!(evidence.hops.get(index), Some(&alone));
        }
    }

    #[test]
    fn whatever_is_beyond_the_caps_is_counted(elements in 0_usize..400, filler in 0_usize..80) {
        let one = format!("a;note={}", "x".repeat(filler));
        let line = vec![one.as_str(); elements].join(",");
        let evidence = read_hop_evidence(&headers(&[("x-insight-hop", &line)]), None, &route(&[]));
        let sum = |counts: &[(HopSource, u32)]| counts.iter().map(|(_, count)| *count as usize).sum::<usize>();
        let used = evidence.hops.len() + sum(&evidence.malformed) + sum(&evidence.capped);
        prop_assert_eq!(used, elements);
    }

    #[test]
    fn server_statistics_come_back_whatever_stands_behind_them(
        load_balancer in proptest::option::of(0_i64..3_600_000_000_000),
        server in proptest::option::of(0_i64..3_600_000_000_000),
        options in proptest::option::of(any::<u8>()),
        later in vec(any::<u8>(), 0..20),
    ) {
        let field = |id: u8, ns: Option<i64>| {
            ns.map(|ns| [&[id][..], &ns.to_le_bytes()].concat()).unwrap_or_default()
        };
        let options = options.map(|options| vec![2, options]).unwrap_or_default();
        let unknown = [&[9_u8][..], &later].concat();
        let bytes = [vec![0], field(0, load_balancer), field(1, server), options, unknown].concat();
        let parsed = parse_server_stats(STANDARD.encode(bytes).as_bytes());
        prop_assert!(!parsed.malformed);
        let ns = |figure: Option<Figure>| figure.map(|figure| figure.ns);
        prop_assert_eq!((ns(parsed.stats.load_balancer), ns(parsed.stats.server)), (load_balancer, server));
    }

    #[test]
    fn a_load_reads_the_same_as_text_and_as_json(
        cpu in binary_fraction(),
        rps in binary_fraction(),
        queue in binary_fraction(),
    ) {
        let pairs = [("cpu_utilization", cpu), ("rps_fractional", rps), ("named_metrics.queue", queue)];
        let text = pairs.iter().filter_map(|(key, figure)| figure.map(|figure| format!("{key}={figure}")));
        let text = format!("TEXT {}", text.collect::<Vec<_>>().join(", "));
        let json = serde_json::json!({
            "cpuUtilization": cpu, "rps_fractional": rps, "namedMetrics": queue.map(|queue| serde_json::json!({"queue": queue})),
        });
        let names = ["queue".to_owned()];
        let parsed = parse_orca_text(text.as_bytes(), &names);
        prop_assert_eq!(parsed.malformed, 0);
        prop_assert_eq!((parsed.load.cpu, parsed.load.requests_per_second), (cpu, rps));
        prop_assert_eq!(parsed.load.named.first().map(|(_, figure)| *figure), queue);
        prop_assert_eq!(parse_orca_text(format!("JSON {json}").as_bytes(), &names), parsed);
    }

    #[test]
    fn tries_without_quotes_are_read_as_with_them(
        tries in vec(prop_oneof![Just("-".to_owned()), "[0-9]{1,3}(\\.[0-9]{1,3})?"], 1..6),
        separators in vec(prop_oneof![Just(", "), Just(" : "), Just(",")], 6),
        neighbours in any::<bool>(),
    ) {
        let mut list = String::new();
        for (one, separator) in tries.iter().zip(separators) {
            list = if list.is_empty() { one.clone() } else { format!("{list}{separator}{one}") };
        }
        let line = |quote: &str| {
            let element = format!("a;d=900;u={quote}{list}{quote};c={quote}{list}{quote}");
            if neighbours { format!("far;d=1;u=1, {element}, near;d=2") } else { element }
        };
        let of = |line: &str| read_hop_evidence(&headers(&[("x-insight-hop", line)]), None, &route(&[]));
        prop_assert_eq!(of(&line("")), of(&line("\"")));
    }
}
