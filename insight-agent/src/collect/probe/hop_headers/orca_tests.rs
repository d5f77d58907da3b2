//! Load reports in each of their forms.

use super::orca::{BINARY, ParsedLoad, parse_orca_binary, parse_orca_text, read};
use super::tally::Tally;
use super::tests::headers;
use crate::model::hop::{HopSource, ServiceLoad};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn double(number: u8, value: f64) -> Vec<u8> {
    [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
}

/// An entry of a map from names to doubles.
fn entry(number: u8, name: &str, value: f64) -> Vec<u8> {
    let key = [&[0x0A, u8::try_from(name.len()).unwrap()][..], name.as_bytes()].concat();
    let pair = [key, double(2, value)].concat();
    [&[number << 3 | 2, u8::try_from(pair.len()).unwrap()][..], &pair].concat()
}

fn binary(parts: &[Vec<u8>], listed: &[&str]) -> ParsedLoad {
    parse_orca_binary(STANDARD.encode(parts.concat()).as_bytes(), &names(listed))
}

fn text(value: &str, listed: &[&str]) -> ParsedLoad {
    parse_orca_text(value.as_bytes(), &names(listed))
}

fn full() -> ServiceLoad {
    ServiceLoad {
        cpu: Some(0.5),
        memory: Some(0.25),
        application: Some(1.5),
        requests_per_second: Some(120.5),
        errors_per_second: Some(2.0),
        named: vec![("queue".into(), 7.0), ("utilization.disk".into(), 0.125)],
    }
}

const LISTED: [&str; 2] = ["queue", "utilization.disk"];

#[test]
fn every_form_says_the_same() {
    let parts = [
        double(1, 0.5),
        double(2, 0.25),
        double(9, 1.5),
        double(6, 120.5),
        double(7, 2.0),
        entry(8, "queue", 7.0),
        entry(5, "disk", 0.125),
        entry(4, "queue", 99.0),
        entry(8, "not-listed", f64::NAN),
    ];
    let expected = ParsedLoad { load: full(), malformed: 0 };
    assert_eq!(binary(&parts, &LISTED), expected);
    let encoded = STANDARD_NO_PAD.encode(parts.concat());
    assert_eq!(parse_orca_binary(encoded.as_bytes(), &names(&LISTED)), expected, "without padding");
    assert_eq!(text(&format!("BIN {encoded}"), &LISTED), expected);
    assert_eq!(
        text(
            "TEXT cpu_utilization=0.5, mem_utilization=0.25,application_utilization=1.5, rps_fractional=120.5,\
             eps=2, named_metrics.queue=7, utilization.disk=0.125, request_cost.queue=99, named_metrics.x=bad",
            &LISTED
        ),
        expected
    );
    for json in [
        r#"JSON {"cpu_utilization":0.5,"mem_utilization":0.25,"application_utilization":1.5,"rps_fractional":120.5,
            "eps":2,"named_metrics":{"queue":7,"x":"bad"},"utilization":{"disk":0.125},"request_cost":{"queue":99}}"#,
        r#"JSON {"cpuUtilization":"0.5","memUtilization":0.25,"applicationUtilization":1.5,"rpsFractional":120.5,
            "eps":"2","namedMetrics":{"queue":7},"utilization":{"disk":"0.125"},"later":{"a":[1]}}"#,
    ] {
        assert_eq!(text(json, &LISTED), expected, "{json}");
    }
}

#[test]
fn metrics_that_are_not_listed_go_nowhere() {
    assert_eq!(binary(&[entry(8, "queue", 7.0)], &[]).load, ServiceLoad::default());
    assert_eq!(text("TEXT named_metrics.queue=7", &["other"]).load, ServiceLoad::default());
    let load = text("TEXT named_metrics.a=1, request_cost.a=2, utilization.a=3", &["request_cost.a"]).load;
    assert_eq!(load.named, [("request_cost.a".to_owned(), 2.0)]);
}

#[test]
fn a_zero_is_a_figure_where_the_form_can_tell_it() {
    assert_eq!(binary(&[double(1, 0.0)], &[]).load.cpu, None);
    assert_eq!(binary(&[entry(8, "queue", 0.0)], &["queue"]).load.named, [("queue".to_owned(), 0.0)]);
    assert_eq!(text("TEXT cpu_utilization=0", &[]).load.cpu, Some(0.0));
    assert_eq!(text(r#"JSON {"eps":0,"rps_fractional":null}"#, &[]).load.errors_per_second, Some(0.0));
}

#[test]
fn the_deprecated_whole_rate_fills_in_for_the_fractional_one() {
    let rps = |parts: &[Vec<u8>]| binary(parts, &[]).load.requests_per_second;
    assert_eq!(rps(&[vec![3 << 3, 0x96, 0x01]]), Some(150.0));
    assert_eq!(rps(&[vec![3 << 3, 0x96, 0x01], double(6, 1.5)]), Some(1.5));
}

#[test]
fn a_figure_that_cannot_be_costs_only_itself() {
    for bad in [-0.5, f64::NAN, f64::INFINITY] {
        let parsed = binary(&[double(1, bad), double(2, 0.25)], &[]);
        assert_eq!((parsed.load.cpu, parsed.load.memory, parsed.malformed), (None, Some(0.25), 1), "{bad}");
    }
    let parsed = text("TEXT cpu_utilization=high, mem_utilization=0.25, eps, mem_utilization=0.5", &[]);
    assert_eq!((parsed.load.cpu, parsed.load.memory, parsed.malformed), (None, Some(0.25), 3));
    let parsed = text(r#"JSON {"cpu_utilization":[],"named_metrics":1,"mem_utilization":0.25}"#, &[]);
    assert_eq!((parsed.load.memory, parsed.malformed), (Some(0.25), 2));
}

#[test]
fn what_is_no_report_is_malformed_as_a_whole() {
    let deep = format!("JSON {}", "{\"a\":".repeat(2000));
    for value in ["", "0.5", "XML <a/>", "JSON {", "JSON []", "JSON", "BIN *", "text cpu=1", deep.as_str()] {
        assert_eq!(
            text(value, &[]),
            ParsedLoad { load: ServiceLoad::default(), malformed: 1 },
            "{value:.20}"
        );
    }
    assert_eq!(parse_orca_binary(b"CQ", &[]).malformed, 1, "a field without its value");
    assert_eq!(parse_orca_binary(b"", &[]), ParsedLoad::default(), "protobuf writes nothing of nothing");
}

#[test]
fn the_binary_trailer_counts_before_the_text_and_trailers_before_headers() {
    let encoded = STANDARD.encode(double(1, 0.5));
    let of = |lines: &[(&'static str, &str)], head: &[(&'static str, &str)]| {
        let mut tally = Tally::default();
        let load = read(&headers(head), Some(&headers(lines)), &[], &mut tally);
        (load.cpu, tally.into_evidence(Vec::new()).malformed)
    };
    let name = HopSource::Orca.as_str();
    assert_eq!(of(&[(BINARY, &encoded), (name, "TEXT cpu=0.9")], &[]), (Some(0.5), vec![]));
    assert_eq!(of(&[(name, "TEXT cpu=0.9")], &[(name, "TEXT cpu=0.1")]), (Some(0.9), vec![]));
    assert_eq!(of(&[], &[(name, "TEXT cpu=0.1")]), (Some(0.1), vec![]));
    let two = of(&[(name, "TEXT cpu=0.9"), (name, "TEXT cpu=0.1")], &[]);
    assert_eq!(two, (Some(0.9), vec![(HopSource::Orca, 1)]));
}
