//! Consul's catalog followed by blocking queries.

use crate::support::{SOON, Watched, anywhere, wait_for};
use insight_agent::collect::discovery::consul::ConsulSource;
use insight_agent::model::discovery::LookupClass;
use insight_agent::model::discovery::consul::ConsulPlan;
use insight_lab::doubles::{ConsulDouble, ConsulInstance};
use std::time::Duration;

pub async fn double() -> ConsulDouble {
    ConsulDouble::start(anywhere(), None).await.unwrap()
}

/// All services of the double's catalog.
pub fn plan(double: &ConsulDouble) -> ConsulPlan {
    let address = double.server.address();
    ConsulPlan {
        host: address.ip().to_string(),
        port: address.port(),
        tls: None,
        token_file: None,
        datacenter: None,
        namespace: None,
        services: vec![],
        tags: vec![],
        passing_only: true,
        wait: Duration::from_secs(60),
        stale: false,
    }
}

pub fn of(services: &[&str], double: &ConsulDouble) -> ConsulPlan {
    ConsulPlan { services: services.iter().map(|name| (*name).to_owned()).collect(), ..plan(double) }
}

/// Waits until so many queries are held: what changes without the index is told to those alone.
pub async fn held(double: &ConsulDouble, count: usize) {
    wait_for("held queries", || double.held() == count).await;
}

pub fn at(id: &str, port: u16) -> ConsulInstance {
    ConsulInstance::new(id, "10.0.0.1", port)
}

#[tokio::test]
async fn instances_that_come_and_go_are_told_within_a_second() {
    let double = double().await;
    double.register("orders", at("a", 1));
    let mut watched = Watched::start(ConsulSource::new(of(&["orders"], &double)));
    watched.until(&["10.0.0.1:1"]).await;
    double.register("orders", at("b", 2));
    assert!(watched.until(&["10.0.0.1:1", "10.0.0.1:2"]).await < SOON);
    double.register("orders", at("a", 1).with_health("critical"));
    assert!(watched.until(&["10.0.0.1:2"]).await < SOON);
    double.deregister("orders", "b");
    assert!(watched.until(&[]).await < SOON);
    assert_eq!(watched.failures, []);
    let asked = double.server.seen();
    assert!(asked[0].ends_with("/v1/health/service/orders?passing=true"), "{asked:?}");
    assert!(asked[1].contains("&index=11&wait=60000ms"), "{asked:?}");
}

#[tokio::test]
async fn without_a_list_services_are_followed_as_the_catalog_names_them() {
    let double = double().await;
    double.register("orders", at("a", 1).tagged(&["grpc", "v2"]));
    double.register("other", at("x", 9).tagged(&["http"]));
    let plan = ConsulPlan { tags: vec!["grpc".into()], ..plan(&double) };
    let mut watched = Watched::start(ConsulSource::new(plan));
    watched.until(&["10.0.0.1:1"]).await;
    let endpoint = &watched.roster.as_ref().unwrap()[0];
    assert_eq!(endpoint.name, "orders_10.0.0.1_1");
    let said = ["service", "id", "node", "datacenter", "health", "tag.grpc", "tag.v2", "node_meta.rack"]
        .map(|key| endpoint.meta[&format!("consul.{key}")].as_str());
    assert_eq!(said, ["orders", "a", "n1", "dc1", "passing", "true", "true", "7"]);

    double.register("stock", at("b", 2).tagged(&["grpc"]));
    assert!(watched.until(&["10.0.0.1:1", "10.0.0.1:2"]).await < SOON);
    double.deregister("orders", "a");
    assert!(watched.until(&["10.0.0.1:2"]).await < SOON);
    double.register("orders", at("c", 3).tagged(&["grpc"]));
    assert!(watched.until(&["10.0.0.1:2", "10.0.0.1:3"]).await < SOON);
    assert!(!double.server.seen().iter().any(|target| target.contains("/other")), "no instance can match");
    assert_eq!(watched.failures, []);
}

#[tokio::test]
async fn an_empty_catalog_is_an_empty_roster() {
    let double = double().await;
    let mut watched = Watched::start(ConsulSource::new(plan(&double)));
    watched.until(&[]).await;
    double.register("orders", at("a", 1));
    assert!(watched.until(&["10.0.0.1:1"]).await < SOON);
}

#[tokio::test]
async fn a_roster_is_whole_only_when_every_listed_service_has_answered() {
    let double = double().await;
    double.register("a", at("a", 1));
    double.register("b", at("b", 2));
    let mut watched = Watched::start(ConsulSource::new(of(&["a", "b", "absent"], &double)));
    watched.until_count(2).await;
    assert_eq!(watched.failures, []);
}

#[tokio::test]
async fn a_restored_snapshot_takes_the_index_back_and_is_followed() {
    let double = double().await;
    double.register("orders", at("a", 1));
    let mut watched = Watched::start(ConsulSource::new(of(&["orders"], &double)));
    watched.until(&["10.0.0.1:1"]).await;
    held(&double, 1).await;
    double.restore(3);
    // Its held query ends, and the next two fetch the index without waiting and wait behind it.
    wait_for("a query behind the new index", || {
        double.server.seen().iter().any(|target| target.contains("index=3&"))
    })
    .await;
    double.register("orders", at("b", 2));
    assert!(watched.until(&["10.0.0.1:1", "10.0.0.1:2"]).await < SOON);
}

#[tokio::test]
async fn a_wait_that_ends_without_a_change_tells_nothing_and_goes_on() {
    let double = double().await;
    double.register("orders", at("a", 1));
    let plan = ConsulPlan { wait: Duration::from_secs(1), ..of(&["orders"], &double) };
    let mut watched = Watched::start(ConsulSource::new(plan));
    watched.until(&["10.0.0.1:1"]).await;
    wait_for("a third wait", || double.server.requests() >= 4).await;
    double.register("orders", at("b", 2));
    // Anything told in between would be another roster.
    assert!(watched.until(&["10.0.0.1:1", "10.0.0.1:2"]).await < SOON);
    assert_eq!(watched.failures, []);
}

#[tokio::test]
async fn what_the_plan_says_is_asked() {
    let double = double().await;
    let plan = ConsulPlan {
        datacenter: Some("dc1".into()),
        namespace: Some("team a".into()),
        passing_only: false,
        stale: true,
        ..of(&["a/b"], &double)
    };
    let mut watched = Watched::start(ConsulSource::new(plan));
    watched.until(&[]).await;
    assert_eq!(double.server.seen()[0], "/v1/health/service/a%2Fb?dc=dc1&ns=team%20a&stale");
}

#[tokio::test]
async fn a_stale_answer_of_a_server_that_is_cut_off_is_not_believed() {
    let double = double().await;
    double.register("orders", at("a", 1));
    let plan = ConsulPlan { stale: true, ..of(&["orders"], &double) };
    let mut watched = Watched::start(ConsulSource::new(plan));
    watched.until(&["10.0.0.1:1"]).await;
    for (known, last_contact, told) in [(false, 0, "knows no leader"), (true, 90, "90 s ago")] {
        held(&double, 1).await;
        double.say_leader(known, Duration::from_secs(last_contact));
        double.deregister("orders", "a");
        let failure = watched.until_failed().await;
        assert_eq!(failure.class, LookupClass::Refused);
        assert!(failure.detail.contains(told), "{}", failure.detail);
        assert_eq!(watched.addresses().unwrap(), ["10.0.0.1:1"]);
        double.register("orders", at("a", 1));
        double.say_leader(true, Duration::ZERO);
        watched.until(&["10.0.0.1:1"]).await;
    }
}

#[tokio::test]
async fn what_a_policy_filters_out_is_denied_and_not_gone() {
    let double = double().await;
    double.register("orders", at("a", 1));
    let mut watched = Watched::start(ConsulSource::new(plan(&double)));
    watched.until(&["10.0.0.1:1"]).await;
    held(&double, 2).await;
    double.filter_everything(true);
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::Denied);
    assert!(failure.detail.contains("service:read and node:read"), "{}", failure.detail);
    assert_eq!(watched.addresses().unwrap(), ["10.0.0.1:1"]);
    double.filter_everything(false);
    watched.until(&["10.0.0.1:1"]).await;
}

#[tokio::test]
async fn more_services_than_are_watched_are_a_failure_and_no_part_of_them() {
    let double = double().await;
    for index in 0..101 {
        double.register(&format!("s{index}"), at("a", index + 1));
    }
    let mut watched = Watched::start(ConsulSource::new(plan(&double)));
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::TooMany);
    assert!(failure.detail.contains("101 services, 100 are watched at most"), "{}", failure.detail);
    assert_eq!(watched.roster, None);
    double.deregister("s7", "a");
    watched.until_count(100).await;
}
