//! What the configurations below `deploy/` make a proxy write is what the parsers read.

use super::insight_hop::parse_insight_hop;
use super::tests::{headers, route};
use super::{kong, read_hop_evidence};
use crate::model::figure::Figure;

const ENVOY: &str = include_str!("../../../../../deploy/envoy/insight-hop.yaml");
const KONG: &str = include_str!("../../../../../deploy/kong/README.md");

fn us(value: i64) -> Option<Figure> {
    Some(Figure { ns: value * 1_000, below_ns: 1_000, above_ns: 1_000 })
}

/// The value that the Envoy snippet sets, as Envoy reads it.
fn envoy_value() -> String {
    let yaml: serde_json::Value = serde_yaml_ng::from_str(ENVOY).unwrap();
    let added = &yaml["response_headers_to_add"][0];
    assert_eq!(added["header"]["key"], "x-insight-hop");
    assert_eq!(added["append_action"], "APPEND_IF_EXISTS_OR_ADD", "the values of other hops stay");
    added["header"]["value"].as_str().unwrap().to_owned()
}

/// `format` with what Envoy puts in the place of its operators, in their order.
fn filled(format: &str, figures: &[&str]) -> String {
    let mut parts = format.split('%');
    let mut text = parts.next().unwrap().to_owned();
    let mut figures = figures.iter();
    while let Some(operator) = parts.next() {
        assert!(operator.contains("DURATION"), "{operator}");
        text += figures.next().expect("a figure for each operator");
        text += parts.next().expect("a percent sign closes each operator");
    }
    assert_eq!(figures.next(), None);
    text
}

#[test]
fn what_the_envoy_snippet_writes_is_read() {
    let parsed = parse_insight_hop(filled(&envoy_value(), &["13123", "12045"]).as_bytes());
    let hop = parsed.timing.unwrap();
    assert!(!parsed.malformed);
    assert_eq!((hop.name.as_str(), hop.downstream, hop.upstream), ("mediary-a", us(13_123), us(12_045)));
}

#[test]
fn an_envoy_that_answered_itself_is_not_malformed_and_knows_nothing() {
    let parsed = parse_insight_hop(filled(&envoy_value(), &["-", "-"]).as_bytes());
    let hop = parsed.timing.unwrap();
    assert_eq!((parsed.malformed, hop.downstream, hop.upstream), (false, None, None));
}

#[test]
fn the_envoy_snippet_for_older_versions_leaves_the_upstream_time_to_envoys_own_header() {
    let older = ENVOY.lines().find_map(|line| line.strip_prefix("#      value: ")).unwrap();
    let value = filled(older.trim_matches('"'), &["12"]).replace("mediary-a", "mediary");
    let map = headers(&[("x-insight-hop", &value), ("x-envoy-upstream-service-time", "10")]);
    let evidence = read_hop_evidence(&map, None, &route(&["mediary"]));
    assert_eq!(evidence.hops.len(), 1);
    let ns = |figure: Option<Figure>| figure.map(|figure| figure.ns / 1_000_000);
    assert_eq!((ns(evidence.hops[0].downstream), ns(evidence.hops[0].upstream)), (Some(12), Some(10)));
}

#[test]
fn the_kong_page_names_the_headers_that_are_read() {
    let page = KONG.to_lowercase();
    for header in [kong::UPSTREAM, kong::PROXY, kong::RESPONSE] {
        assert!(page.contains(&format!("`{header}`")), "{header}");
    }
}
