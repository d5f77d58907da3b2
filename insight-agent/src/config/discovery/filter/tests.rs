use super::*;
use proptest::prelude::*;

fn endpoint(meta: &[(&str, &str)]) -> Endpoint {
    let meta = meta.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Endpoint { name: "orders-1".into(), host: "10.0.0.1".into(), port: 443, meta }
}

fn holds(text: &str) -> bool {
    let endpoint = endpoint(&[("region", "sg"), ("tag.grpc", "true"), ("note", "it's a b"), ("empty", "")]);
    Condition::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}")).holds(&endpoint)
}

#[test]
fn conditions_hold_as_they_read() {
    for text in [
        "meta.tag.grpc",
        "!meta.canary",
        "meta.region = sg",
        "meta.region=sg",
        "  meta.region   =   sg  ",
        "meta.version != 1",
        "meta.region != eu",
        "name ~ orders-*",
        "name !~ users-*",
        "meta.canary !~ *",
        "port = 443",
        "address = 10.0.0.1:443",
        "host ~ 10.?.0.*",
        "meta.note = 'it''s a b'",
        "meta.note = it's a b",
        "meta.empty = ''",
        "meta.empty",
    ] {
        assert!(holds(text), "{text}");
    }
    for text in [
        "!meta.tag.grpc",
        "meta.canary",
        "meta.region = SG",
        "meta.canary = ''",
        "meta.region != sg",
        "name !~ orders-*",
        "name ~ orders",
        "meta.canary ~ *",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn all_conditions_of_a_filter_must_hold() {
    let filter =
        |texts: &[&str]| Filter::new(texts.iter().map(|text| Condition::parse(text).unwrap()).collect());
    let of = endpoint(&[("region", "sg")]);
    assert!(filter(&[]).passes(&of));
    assert!(filter(&["meta.region = sg", "port = 443"]).passes(&of));
    assert!(!filter(&["meta.region = sg", "port = 80"]).passes(&of));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, at, what) in [
        ("", 1, "a field is missing"),
        ("= sg", 1, "a field is missing"),
        ("meta.", 1, "no key follows"),
        ("  regoin = sg", 3, "\"regoin\" is nothing of an endpoint"),
        ("meta.region = ", 15, "a value is missing"),
        ("meta.region == sg", 14, "two operators"),
        ("meta.régn ! sg", 11, "no such operator"),
        ("!meta.region = sg", 2, "a ! in front"),
        ("meta.a = 'b", 10, "a quote has no partner"),
        ("meta.a = 'b' c'", 10, "something follows"),
        ("meta.a b = c", 1, "has a space"),
    ] {
        let error = Condition::parse(text).unwrap_err();
        assert_eq!(error.at, at, "{text}: {error:?}");
        assert!(error.what.contains(what), "{text}: {error:?}");
        assert!(!error.advice.is_empty());
    }
    assert!(Condition::parse("nam = x").unwrap_err().advice.contains("did you mean \"name\"?"));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics_and_a_place_lies_within_it(text in "[!=~' a-z.é]{0,20}|\\PC{0,20}") {
        if let Err(error) = Condition::parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.at), "{:?}", error);
        }
    }

    #[test]
    fn any_value_can_be_asked_for_in_quotes(value in "\\PC{0,12}", other in "\\PC{0,12}") {
        let text = format!("meta.k = '{}'", value.replace('\'', "''"));
        let condition = Condition::parse(&text).unwrap();
        prop_assert!(condition.holds(&endpoint(&[("k", &value)])));
        prop_assert_eq!(condition.holds(&endpoint(&[("k", &other)])), value == other);
    }

    #[test]
    fn an_operator_and_its_opposite_never_agree(
        value in "[a-c*]{1,4}",
        actual in proptest::option::of("[a-c]{0,4}"),
    ) {
        let meta: Vec<_> = actual.iter().map(|actual| ("k", actual.as_str())).collect();
        let of = endpoint(&meta);
        for (plain, opposite) in [("=", "!="), ("~", "!~")] {
            let holds = |operator: &str| Condition::parse(&format!("meta.k {operator} {value}")).unwrap().holds(&of);
            prop_assert_ne!(holds(plain), holds(opposite));
        }
    }
}
