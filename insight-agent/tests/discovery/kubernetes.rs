//! Endpoint slices followed by a list and a watch.

use crate::support::{SOON, Watched, anywhere, wait_for};
use insight_agent::collect::discovery::kubernetes::KubernetesSource;
use insight_agent::model::discovery::kubernetes::{KubernetesPlan, PortChoice};
use insight_lab::doubles::{KubernetesDouble, SliceSpec};

pub async fn double() -> KubernetesDouble {
    KubernetesDouble::start(anywhere(), None).await.unwrap()
}

/// Everything in the double.
pub fn plan(double: &KubernetesDouble) -> KubernetesPlan {
    let address = double.server.address();
    KubernetesPlan {
        host: address.ip().to_string(),
        port: address.port(),
        tls: None,
        token_file: None,
        namespaces: vec![],
        services: vec![],
        label_selector: None,
        endpoint_port: None,
        ready_only: true,
    }
}

pub fn orders(name: &str, addresses: &[&str]) -> SliceSpec {
    SliceSpec::new(name, "orders", 443, addresses)
}

/// A double with one slice, and a source that watches it.
pub async fn watched() -> (KubernetesDouble, Watched) {
    let double = double().await;
    double.apply(orders("orders-a", &["10.0.0.1"]));
    let mut watched = Watched::start(KubernetesSource::new(plan(&double)));
    watched.until(&["10.0.0.1:443"]).await;
    running(&double).await;
    (double, watched)
}

/// Waits for a watch.
pub async fn running(double: &KubernetesDouble) {
    wait_for("a watch", || double.watches() == 1).await;
}

/// Lists and watches that were asked for.
pub fn lists_and_watches(double: &KubernetesDouble) -> (usize, usize) {
    let seen = double.server.seen();
    let watches = seen.iter().filter(|target| target.contains("watch=true")).count();
    (seen.len() - watches, watches)
}

#[tokio::test]
async fn slices_that_come_change_and_go_are_told_within_a_second() {
    let (double, mut watched) = watched().await;
    double.apply(orders("orders-b", &["10.0.0.2", "10.0.0.1"]));
    assert!(watched.until(&["10.0.0.1:443", "10.0.0.2:443"]).await < SOON);
    double.apply(orders("orders-b", &["10.0.0.3"]).unready("10.0.0.2"));
    assert!(watched.until(&["10.0.0.1:443", "10.0.0.3:443"]).await < SOON);
    double.delete("shop", "orders-a");
    assert!(watched.until(&["10.0.0.3:443"]).await < SOON);
    let endpoint = &watched.roster.as_ref().unwrap()[0];
    assert_eq!(endpoint.name, "shop_orders_10.0.0.3_443");
    let said = ["namespace", "service", "node", "zone", "pod", "port_name", "ready"]
        .map(|key| endpoint.meta[&format!("kubernetes.{key}")].as_str());
    assert_eq!(said, ["shop", "orders", "node-1", "eu-west-2a", "pod-10.0.0.3", "grpc", "true"]);
    assert_eq!(watched.failures, []);
    assert_eq!(lists_and_watches(&double), (1, 1));
}

#[tokio::test]
async fn an_empty_cluster_is_an_empty_roster() {
    let double = double().await;
    let mut watched = Watched::start(KubernetesSource::new(plan(&double)));
    watched.until(&[]).await;
}

#[tokio::test]
async fn many_changes_at_once_are_told_together() {
    let (double, mut watched) = watched().await;
    for index in 0..200 {
        double.apply(orders(&format!("s{index}"), &[&format!("10.1.0.{index}")]));
    }
    watched.until_count(201).await;
    // Each is told after 50 ms of quiet, or 250 ms: 200 lines take less than a second.
    assert!(watched.rosters <= 10, "{} rosters", watched.rosters);
    assert_eq!(watched.failures, []);
}

#[tokio::test]
async fn a_long_list_is_read_in_pages_and_begun_anew_when_they_expire() {
    for expire in [false, true] {
        let double = double().await;
        for index in 0..600 {
            double.apply(orders(&format!("s{index}"), &[&format!("10.1.{}.{}", index / 250, index % 250)]));
        }
        double.expire_pages(expire);
        let mut watched = Watched::start(KubernetesSource::new(plan(&double)));
        watched.until_count(600).await;
        let seen = double.server.seen();
        assert!(seen[0].contains("limit=250") && seen[1].contains("continue=700.250"), "{seen:?}");
        if expire {
            assert!(!seen[2].contains("limit") && !seen[2].contains("continue"), "{seen:?}");
        } else {
            assert!(seen[2].contains("continue=700.500"), "{seen:?}");
        }
        assert_eq!(watched.failures, []);
    }
}

#[tokio::test]
async fn only_what_the_plan_asks_for_is_listed_and_watched() {
    let double = double().await;
    let stock = |name: &str, address: &str| SliceSpec::new(name, "stock", 443, &[address]);
    double.apply(orders("a", &["10.0.0.1"]).label("track", "stable"));
    double.apply(orders("b", &["10.0.0.2"]).label("track", "canary"));
    double.apply(stock("c", "10.0.0.3").label("track", "stable").namespace("back"));
    double.apply(SliceSpec::new("d", "other", 443, &["10.0.0.4"]).label("track", "stable"));
    double.apply(stock("e", "10.0.0.5").label("track", "stable").namespace("elsewhere"));
    let plan = KubernetesPlan {
        namespaces: vec!["shop".into(), "back".into()],
        services: vec!["orders".into(), "stock".into()],
        label_selector: Some("track!=canary".into()),
        endpoint_port: Some(PortChoice::Number(19749)),
        ..plan(&double)
    };
    let mut watched = Watched::start(KubernetesSource::new(plan));
    watched.until(&["10.0.0.1:19749", "10.0.0.3:19749"]).await;
    wait_for("two watches", || double.watches() == 2).await;
    double.apply(stock("f", "10.0.0.6").namespace("elsewhere"));
    double.apply(stock("g", "10.0.0.7"));
    assert!(watched.until(&["10.0.0.1:19749", "10.0.0.3:19749", "10.0.0.7:19749"]).await < SOON);
}

#[tokio::test]
async fn a_cut_watch_goes_on_where_it_was_and_lists_nothing() {
    let (double, mut watched) = watched().await;
    double.apply(orders("orders-b", &["10.0.0.2"]));
    watched.until(&["10.0.0.1:443", "10.0.0.2:443"]).await;
    double.server.cut();
    double.apply(orders("orders-c", &["10.0.0.3"]));
    watched.until(&["10.0.0.1:443", "10.0.0.2:443", "10.0.0.3:443"]).await;
    assert_eq!(watched.failures, [], "a cut alone is no failure");
    assert_eq!(lists_and_watches(&double).0, 1);
    let last = double.server.seen().pop().unwrap();
    assert!(last.contains("resourceVersion=102&"), "{last}");
}

#[tokio::test]
async fn a_bookmark_takes_the_version_on() {
    let (double, mut watched) = watched().await;
    double.bookmark();
    // Behind the bookmark, so that it has been read.
    double.apply(orders("orders-b", &["10.0.0.2"]).namespace("other"));
    watched.until(&["10.0.0.1:443", "10.0.0.2:443"]).await;
    double.bookmark();
    double.end_watches();
    wait_for("another watch", || lists_and_watches(&double).1 == 2).await;
    let last = double.server.seen().pop().unwrap();
    assert!(last.contains("resourceVersion=104&"), "{last}");
    assert_eq!(watched.failures, []);
}
