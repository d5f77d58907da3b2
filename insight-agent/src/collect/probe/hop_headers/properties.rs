//! What holds for every response, however hostile.

use super::envoy::parse_envoy_upstream;
use super::insight_hop::{parse_insight_hop, render_insight_hop};
use super::server_timing::parse_server_timing;
use super::tests::{headers, route};
use super::{MAX_HOPS, parse_service_trailer, read_hop_evidence};
use crate::model::figure::Figure;
use crate::model::hop::{HopEvidence, HopSource};
use http::{HeaderMap, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// Text that looks enough like a header to reach the depths of a parser.
const NEARLY: &str = r#"[ad"\\=;:,. \-_s019q]{0,60}"#;

/// One element without a comma: mostly broken, and never a hop called `near` or `far`.
const GARBAGE: &str = r#"[!?/@"\\=;: a-d0-9]{0,24}[!?/@"\\]?"#;

fn evidence_of(lines: &[Vec<u8>]) -> HopEvidence {
    let mut map = HeaderMap::new();
    for line in lines {
        for source in [HopSource::InsightHop, HopSource::ServerTiming, HopSource::EnvoyUpstream] {
            if let Ok(value) = HeaderValue::from_bytes(line) {
                map.append(source.as_str(), value);
            }
        }
    }
    read_hop_evidence(&map, Some(&map), &route(&["a", "d"]))
}

fn check_shape(evidence: &HopEvidence) {
    assert!(evidence.hops.len() <= MAX_HOPS);
    let names: BTreeSet<_> = evidence.hops.iter().map(|hop| &hop.name).collect();
    assert_eq!(names.len(), evidence.hops.len(), "a hop name appears twice");
    for figure in evidence.hops.iter().flat_map(|hop| [hop.downstream, hop.upstream, hop.connect]).flatten() {
        assert!((0..=3_600_000_000_000).contains(&figure.ns), "{figure:?}");
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

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in vec(any::<u8>(), 0..200), lines in vec(vec(any::<u8>(), 0..200), 0..4)) {
        parse_insight_hop(&bytes);
        let _ = parse_server_timing(&bytes);
        let _ = parse_envoy_upstream(&bytes);
        parse_service_trailer(&bytes);
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
}
