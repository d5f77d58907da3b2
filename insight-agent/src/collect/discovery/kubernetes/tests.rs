//! Lists, events and slices as the API documents them.

use super::watch::selector;
use super::*;
use crate::model::discovery::Endpoint;
use crate::model::discovery::kubernetes::PortChoice;

pub(super) fn plan() -> KubernetesPlan {
    KubernetesPlan {
        host: "127.0.0.1".into(),
        port: 6443,
        tls: None,
        token_file: None,
        namespaces: vec![],
        services: vec![],
        label_selector: None,
        endpoint_port: None,
        ready_only: true,
    }
}

const SLICE: &str = r#"{"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
  "metadata": {"name": "orders-abc", "namespace": "shop", "resourceVersion": "41", "uid": "x",
               "labels": {"kubernetes.io/service-name": "orders", "app": "orders"}},
  "addressType": "IPv4",
  "ports": [{"name": "grpc", "port": 50051, "protocol": "TCP"}, {"name": "metrics", "port": 9090},
            {"name": "dns", "port": 53, "protocol": "UDP"}],
  "endpoints": [
    {"addresses": ["10.1.2.3", "10.1.2.4"], "conditions": {"ready": true, "serving": true, "terminating": false},
     "nodeName": "node-1", "zone": "eu-west-2a", "targetRef": {"kind": "Pod", "name": "orders-7d9c"}},
    {"addresses": ["10.1.2.5"], "conditions": {"ready": false, "serving": true, "terminating": true}},
    {"addresses": ["10.1.2.6"], "conditions": {}}]}"#;

fn slices(texts: &[&str]) -> Slices {
    let mut slices = Slices::default();
    for text in texts {
        slices.apply(serde_json::from_str(text).unwrap());
    }
    slices
}

fn told(slices: &Slices, plan: &KubernetesPlan) -> Vec<(String, u16)> {
    slices.endpoints(plan).into_iter().map(|endpoint| (endpoint.host, endpoint.port)).collect()
}

fn at(host: &str, port: u16) -> (String, u16) {
    (host.to_owned(), port)
}

#[test]
fn an_endpoint_has_all_that_is_said_of_it_and_what_is_unknown_is_absent() {
    let plan = KubernetesPlan { endpoint_port: Some(PortChoice::Named("grpc".into())), ..plan() };
    let found = slices(&[SLICE]).endpoints(&plan);
    let names: Vec<_> = found.iter().map(|endpoint| endpoint.name.as_str()).collect();
    assert_eq!(names, ["shop_orders_10.1.2.3_50051", "shop_orders_10.1.2.6_50051"]);
    let meta = |endpoint: &Endpoint| -> Vec<String> {
        endpoint.meta.iter().map(|(key, value)| format!("{key}={value}")).collect()
    };
    let of_both = |pod: &[&str]| {
        let mut all: Vec<String> = [
            "kubernetes.address_type=IPv4",
            "kubernetes.label.app=orders",
            "kubernetes.label.kubernetes.io/service-name=orders",
            "kubernetes.namespace=shop",
            "kubernetes.port_name=grpc",
            "kubernetes.ready=true",
            "kubernetes.service=orders",
            "kubernetes.serving=true",
            "kubernetes.terminating=false",
        ]
        .iter()
        .chain(pod)
        .map(|text| (*text).to_owned())
        .collect();
        all.sort();
        all
    };
    let pod = ["kubernetes.node=node-1", "kubernetes.zone=eu-west-2a", "kubernetes.pod=orders-7d9c"];
    assert_eq!(meta(&found[0]), of_both(&pod));
    assert_eq!(meta(&found[1]), of_both(&[]));
}

#[test]
fn ports_are_chosen_by_name_or_number_or_are_all_of_tcp() {
    let slices = slices(&[SLICE]);
    let with = |port| told(&slices, &KubernetesPlan { endpoint_port: port, ..plan() });
    let both = |port| vec![at("10.1.2.3", port), at("10.1.2.6", port)];
    assert_eq!(with(Some(PortChoice::Named("metrics".into()))), both(9090));
    assert_eq!(with(Some(PortChoice::Named("dns".into()))), []);
    assert_eq!(with(Some(PortChoice::Number(19749))), both(19749));
    assert_eq!(with(None).len(), 4);
}

#[test]
fn what_is_not_ready_counts_only_where_it_is_asked_for() {
    let plan = KubernetesPlan { ready_only: false, endpoint_port: Some(PortChoice::Number(1)), ..plan() };
    let found = slices(&[SLICE]).endpoints(&plan);
    let terminating = found.iter().find(|endpoint| endpoint.host == "10.1.2.5").unwrap();
    let said = ["ready", "serving", "terminating"]
        .map(|key| terminating.meta[&format!("kubernetes.{key}")].as_str());
    assert_eq!(said, ["false", "true", "true"]);
}

#[test]
fn who_stands_in_several_slices_is_one_endpoint_and_ready_if_one_of_them_says_so() {
    let unready = SLICE.replace("orders-abc", "orders-aaa").replace("\"ready\": true", "\"ready\": false");
    let both = slices(&[SLICE, &unready]);
    let plan = KubernetesPlan { endpoint_port: Some(PortChoice::Number(1)), ..plan() };
    assert_eq!(told(&both, &plan), [at("10.1.2.3", 1), at("10.1.2.6", 1)]);
    let mut one = both.clone();
    one.delete(&serde_json::from_str(SLICE).unwrap());
    assert_eq!(told(&one, &plan), [at("10.1.2.6", 1)], "only the unready slice knows it now");
}

#[test]
fn a_slice_without_ports_has_any_port_and_needs_a_number() {
    let text = SLICE.replace("\"ports\": [", "\"unknown\": [");
    let open = slices(&[&text]);
    assert_eq!(told(&open, &plan()), []);
    assert_eq!(
        told(&open, &KubernetesPlan { endpoint_port: Some(PortChoice::Number(7)), ..plan() }).len(),
        2
    );
}

#[test]
fn pages_lead_to_the_next_until_the_last() {
    let page = |next: &str| {
        let text = format!(r#"{{"metadata": {{"resourceVersion": "9"{next}}}, "items": [{SLICE}]}}"#);
        parse_page(text.as_bytes()).unwrap()
    };
    assert_eq!(page(r#", "continue": "tok""#).next.as_deref(), Some("tok"));
    let last = page(r#", "continue": """#);
    assert_eq!((last.next, last.version.as_str(), last.slices.len()), (None, "9", 1));
    assert_eq!(page("").next, None);
    let empty = parse_page(br#"{"metadata": {"resourceVersion": "9"}, "items": null}"#).unwrap();
    assert!(empty.slices.is_empty());
}

#[test]
fn every_kind_of_event_is_read() {
    let event = |kind: &str, object: &str| {
        parse_event(format!(r#"{{"type": "{kind}", "object": {object}}}"#).as_bytes())
    };
    assert!(matches!(event("ADDED", SLICE), Ok(Event::Applied(_))));
    assert!(matches!(event("MODIFIED", SLICE), Ok(Event::Applied(_))));
    assert!(matches!(event("DELETED", SLICE), Ok(Event::Deleted(_))));
    let mark =
        r#"{"kind": "EndpointSlice", "metadata": {"resourceVersion": "12746", "creationTimestamp": null}}"#;
    assert_eq!(event("BOOKMARK", mark).unwrap(), Event::Bookmark { version: "12746".into() });
    let gone =
        r#"{"kind": "Status", "status": "Failure", "message": "too old", "reason": "Expired", "code": 410}"#;
    let Event::Error(status) = event("ERROR", gone).unwrap() else { panic!("no error") };
    assert!(status.is_gone() && status.message == "too old");
    assert!(event("RENAMED", SLICE).is_err());
    assert!(event("ADDED", "{}").is_err());
}

#[test]
fn services_and_labels_make_one_selector() {
    let with = |services: &[&str], labels: Option<&str>| {
        let services = services.iter().map(|name| (*name).to_owned()).collect();
        selector(&KubernetesPlan { services, label_selector: labels.map(str::to_owned), ..plan() })
    };
    assert_eq!(with(&[], None), None);
    assert_eq!(with(&["a"], None).unwrap(), "kubernetes.io/service-name=a");
    assert_eq!(with(&["a", "b"], Some("x!=y")).unwrap(), "kubernetes.io/service-name in (a,b),x!=y");
    assert_eq!(with(&[], Some("x")).unwrap(), "x");
}
