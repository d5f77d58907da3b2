use super::*;
use http::HeaderValue;
use proptest::prelude::*;
use serde_json::json;

fn rule(path: &str, checks: Checks) -> Expectations {
    let subject = Subject::Field(FieldPath::parse(path).unwrap());
    Expectations { statuses: Vec::new(), rules: vec![Rule { subject, checks }] }
}

fn equals(text: &str) -> Checks {
    Checks { equals: Some(text.to_owned()), ..Checks::default() }
}

fn broken(expectations: &Expectations, message: Value) -> String {
    expectations.broken_by_message(&message).unwrap_or_else(|| panic!("{message} breaks nothing"))
}

#[test]
fn without_statuses_ok_alone_is_good() {
    let mut expectations = Expectations::default();
    assert!(expectations.takes(GrpcStatus::Ok) && !expectations.takes(GrpcStatus::NotFound));
    expectations.statuses = vec![GrpcStatus::NotFound];
    assert!(!expectations.takes(GrpcStatus::Ok) && expectations.takes(GrpcStatus::NotFound));
}

#[test]
fn each_check_takes_what_fits_and_says_what_does_not() {
    let is_seven = rule("n", equals("7"));
    assert_eq!(is_seven.broken_by_message(&json!({ "n": 7 })), None);
    assert_eq!(broken(&is_seven, json!({ "n": 8 })), "field n is \"8\", and must be \"7\"");
    assert_eq!(broken(&is_seven, json!({})), "field n is not there");

    let pattern = Checks { matches: Some(Pattern::new("^v[0-9]+$").unwrap()), ..Checks::default() };
    let version = rule("items[0].version", pattern);
    assert_eq!(version.broken_by_message(&json!({ "items": [{ "version": "v12" }] })), None);
    let text = broken(&version, json!({ "items": [{ "version": "12" }] }));
    assert_eq!(text, "field items[0].version is \"12\", and must match \"^v[0-9]+$\"");

    let absent = rule("error", Checks { exists: Some(false), ..Checks::default() });
    assert_eq!(absent.broken_by_message(&json!({})), None);
    assert_eq!(broken(&absent, json!({ "error": "x" })), "field error is \"x\", and must not be there");

    let bounded = rule("n", Checks { least: Some(1.0), most: Some(10.0), ..Checks::default() });
    assert_eq!(bounded.broken_by_message(&json!({ "n": "3" })), None);
    assert_eq!(broken(&bounded, json!({ "n": 11.5 })), "field n is \"11.5\", and must be from 1 to 10");
    assert_eq!(broken(&bounded, json!({ "n": "NaN" })), "field n is \"NaN\", and must be from 1 to 10");
    assert_eq!(broken(&bounded, json!({ "n": true })), "field n is \"true\", and must be a number");
}

#[test]
fn headers_and_trailers_are_told_apart_and_an_answer_without_body_has_only_one_of_them() {
    let of = |subject| Expectations {
        rules: vec![Rule { subject, checks: equals("a, b") }],
        ..Expectations::default()
    };
    let mut map = HeaderMap::new();
    map.append("x-v", HeaderValue::from_static("a"));
    map.append("x-v", HeaderValue::from_static("b"));
    let (header, trailer) = (of(Subject::Header("x-v".into())), of(Subject::Trailer("x-v".into())));
    let empty = HeaderMap::new();
    assert_eq!(header.broken_by_metadata(&map, Some(&empty)), None);
    assert_eq!(trailer.broken_by_metadata(&map, Some(&empty)).unwrap(), "trailer x-v is not there");
    assert_eq!(trailer.broken_by_metadata(&empty, Some(&map)), None);
    assert_eq!(trailer.broken_by_metadata(&map, None), None);
}

#[test]
fn secrets_are_never_repeated_and_nothing_is_repeated_at_length() {
    let secret = broken(&rule("session_token", equals("abc")), json!({ "session_token": "hunter2" }));
    assert!(!secret.contains("hunter2") && !secret.contains("abc"), "{secret}");
    let long = broken(&rule("text", equals("x")), json!({ "text": "é\n".repeat(500) }));
    assert!(long.chars().count() < 200 && !long.contains('\n'), "{long}");
}

#[test]
fn patterns_that_cannot_be_are_refused_in_one_line() {
    let error = Pattern::new("(").unwrap_err().to_string();
    assert_eq!(error, "unclosed group");
    assert!(Pattern::new("(a{1000}){1000}").is_err());
}

proptest! {
    #[test]
    fn what_is_repeated_of_an_answer_is_bounded(text in "\\PC{0,300}") {
        let said = broken(&rule("f", Checks { exists: Some(false), ..Checks::default() }), json!({ "f": text }));
        prop_assert!(said.len() < SHOWN_CHARS * 10 + 100, "{}", said);
    }
}
