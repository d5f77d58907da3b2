use super::fixtures::{GetRequest, Item, Order, shop};
use super::*;
use crate::model::expect::{Checks, Rule, Subject};
use proptest::prelude::*;
use serde_json::json;

fn set() -> DescriptorSet {
    DescriptorSet::parse(Path::new("shop.binpb"), shop()).unwrap()
}

fn method(name: &str, request: &str) -> Result<Method, MethodError> {
    Method::new(set().pool(), name, request, &Expectations::default())
}

fn misfit(request: &str) -> Misfit {
    match method("/shop.v1.Shop/Get", request) {
        Err(MethodError::Request { message, misfit }) => {
            assert_eq!(message, "shop.v1.GetRequest");
            misfit
        }
        other => panic!("{request}: {other:?}"),
    }
}

fn with_rule(path: &str) -> Result<Method, MethodError> {
    let subject = Subject::Field(FieldPath::parse(path).unwrap());
    let rules = vec![Rule { subject, checks: Checks::default() }];
    let expect = Expectations { statuses: Vec::new(), rules };
    Method::new(set().pool(), "/shop.v1.Shop/Get", "{}", &expect)
}

#[test]
fn json_becomes_the_bytes_that_the_message_has() {
    let json = r#"{"id": "7", "labels": {"a": "b"}, "numbers": [1, -2], "kind": "KIND_OPEN"}"#;
    let method = method("/shop.v1.Shop/Get", json).unwrap();
    let sent = GetRequest::decode(method.request()).unwrap();
    let labels = [("a".to_owned(), "b".to_owned())].into();
    assert_eq!(sent, GetRequest { id: "7".into(), labels, numbers: vec![1, -2], kind: 1 });
    assert!(!method.is_streaming() && set().pool().services().len() == 1);
}

#[test]
fn what_does_not_fit_is_told_with_its_place_and_never_with_its_value() {
    let unknown = misfit("{\n  \"idd\": 7\n}");
    assert_eq!((unknown.line, unknown.what.as_str()), (2, "unrecognized field name 'idd'"));
    let number = misfit(r#"{"numbers": [1, {"secret": "hunter2"}]}"#);
    assert_eq!(number.path, "numbers[1]");
    let text = misfit(r#"{"id": 4711}"#);
    assert_eq!((text.path.as_str(), text.what.as_str()), ("id", "invalid type: integer, expected a string"));
    assert!(!misfit(r#"{"labels": "hunter2"}"#).to_string().contains("hunter2"));
    assert!(misfit("{\"id\": \"7\"} x").what.contains("trailing characters"));
    assert!(misfit("{").what.contains("EOF"));
}

#[test]
fn services_and_methods_that_are_not_there_are_answered_with_those_that_are() {
    let error = |name| method(name, "{}").unwrap_err().to_string();
    assert_eq!(
        error("/shop.v1.Shopp/Get"),
        "there is no service \"shop.v1.Shopp\" (there are: shop.v1.Shop)"
    );
    let text = error("/shop.v1.Shop/Gte");
    assert_eq!(text, "the service \"shop.v1.Shop\" has no method \"Gte\" (it has: Get, List, Upload)");
    assert!(error("/shop.v1.Shop/Upload").contains("takes a stream of requests"));
    assert!(method("/shop.v1.Shop/List", "{}").unwrap().is_streaming());
}

#[test]
fn a_file_that_is_no_complete_descriptor_set_is_refused() {
    let parse = |bytes: &[u8]| DescriptorSet::parse(Path::new("x"), bytes.to_vec()).map(|_| ());
    assert!(matches!(parse(b"not one"), Err(MethodError::Descriptors(_))));
    let mut partial = prost_types::FileDescriptorSet::decode(&*shop()).unwrap();
    partial.file.retain(|file| file.name() == "shop/v1/shop.proto");
    let error = parse(&partial.encode_to_vec()).unwrap_err().to_string();
    assert!(error.contains("shop/v1/order.proto") && !error.contains('\n'), "{error}");
}

#[test]
fn answers_become_json_with_the_descriptors_names() {
    let item = Item { item_name: "tea".into(), amount: 2 };
    let order = Order { id: "7".into(), items: vec![item], kind: 1, count: 1 << 40, ..Order::default() };
    let method = method("/shop.v1.Shop/Get", "{}").unwrap();
    let answer = method.answer(&order.encode_to_vec()).unwrap();
    let expected = json!({
        "id": "7", "items": [{ "item_name": "tea", "amount": 2 }], "labels": {}, "kind": "KIND_OPEN",
        "count": 1_099_511_627_776_u64,
    });
    assert_eq!(answer, expected);
    let error = method.answer(&[10, 200]).unwrap_err();
    assert!(!error.is_empty(), "bytes that are no message are told");
}

#[test]
fn rules_are_held_against_the_answers_message() {
    for good in ["items[0].item_name", "items[3].itemName", "labels.a", "labels[\"x.y\"]", "kind", "made_at"]
    {
        let method = with_rule(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        assert!(!method.expect().fields().next().unwrap().to_string().contains("itemName"), "{good}");
    }
    for (bad, why) in [
        ("itemz", "has no field \"itemz\" (it has: id, items, labels, kind, note, count, made_at)"),
        ("items.item_name", "items is a list: name an element, as items[0]"),
        ("labels[0]", "labels is a map: name a key, as labels[\"KEY\"]"),
        ("id.x", "there is nothing below a field that is no message"),
        ("items[0][0]", "shop.v1.Item is no list"),
    ] {
        let error = with_rule(bad).unwrap_err().to_string();
        assert!(error.contains(why), "{bad}: {error}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let method = method("/shop.v1.Shop/Get", "{}").unwrap();
        let _: Result<Value, String> = method.answer(&bytes);
    }

    #[test]
    fn any_text_is_a_request_or_refused_with_a_place(text in "\\PC{0,40}") {
        if let Err(error) = method("/shop.v1.Shop/Get", &text) {
            let is_request = matches!(&error, MethodError::Request { misfit, .. } if misfit.line >= 1);
            prop_assert!(is_request, "{}", error);
        }
    }
}
