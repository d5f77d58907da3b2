//! Consul that answers wrongly, late, or not at all.

use crate::consul::{at, double, held, of, plan};
use crate::support::{SOON, Watched, faults};
use insight_agent::collect::discovery::consul::ConsulSource;
use insight_agent::model::discovery::LookupClass;
use insight_agent::model::discovery::consul::ConsulPlan;
use insight_lab::doubles::Fault;
use std::time::{Duration, Instant};

#[tokio::test]
async fn every_fault_is_told_keeps_the_last_roster_and_passes() {
    let double = double().await;
    double.register("orders", at("a", 1));
    let mut watched = Watched::start(ConsulSource::new(of(&["orders"], &double)));
    watched.until(&["10.0.0.1:1"]).await;
    for (step, (fault, class)) in faults().into_iter().enumerate() {
        let port = 2 + step as u16;
        held(&double, 1).await;
        double.server.set_fault(Some(fault.clone()));
        if let Some(class) = class {
            // The first may be that of the query which was cut.
            let mut failure = watched.until_failed().await;
            while failure.class != class {
                assert_eq!(failure.class, LookupClass::Unreachable, "{fault:?}: {failure:?}");
                failure = watched.until_failed().await;
            }
            assert!(failure.detail.starts_with("consul at 127.0.0.1:"), "{failure:?}");
            assert!(failure.detail.contains(": GET /v1/health/service/orders: "), "{failure:?}");
        }
        assert_eq!(watched.addresses().unwrap().len(), 1 + step, "{fault:?}");
        double.register("orders", at(&format!("b{step}"), port));
        double.server.set_fault(None);
        watched.until_count(2 + step).await;
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_late_and_others_of_the_roster_go_on() {
    let double = double().await;
    double.register("orders", at("a", 1));
    double.server.set_fault(Some(Fault::Silence));
    let began = Instant::now();
    let mut watched = Watched::start(ConsulSource::new(of(&["orders"], &double)));
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::Timeout, "{failure:?}");
    assert!(began.elapsed() >= Duration::from_secs(9));
    double.server.set_fault(None);
    watched.until(&["10.0.0.1:1"]).await;
}

#[tokio::test]
async fn an_answer_without_an_end_is_given_up_at_its_most_length() {
    let double = double().await;
    double.server.set_fault(Some(Fault::Endless));
    let mut watched = Watched::start(ConsulSource::new(of(&["orders"], &double)));
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::TooMany, "{failure:?}");
    assert!(failure.detail.contains("longer than 16 MiB"), "{failure:?}");
}

#[tokio::test]
async fn another_cluster_at_the_same_address_is_followed_from_its_first_index_on() {
    let mut double = double().await;
    double.register("orders", at("a", 1));
    let mut watched = Watched::start(ConsulSource::new(plan(&double)));
    watched.until(&["10.0.0.1:1"]).await;
    held(&double, 2).await;
    double.server.stop().await;
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::Unreachable, "{failure:?}");
    // A listener that is there must be told apart from one that is not.
    watched.until_failed().await;
    double.wipe();
    double.register("orders", at("b", 2));
    double.server.restart().await.unwrap();
    watched.until(&["10.0.0.1:2"]).await;
    double.register("orders", at("c", 3));
    assert!(watched.until(&["10.0.0.1:2", "10.0.0.1:3"]).await < SOON);
}

#[tokio::test]
async fn an_answer_without_an_index_is_malformed() {
    let double = double().await;
    double.register("orders", at("a", 1));
    let mut watched = Watched::start(ConsulSource::new(of(&["orders"], &double)));
    watched.until(&["10.0.0.1:1"]).await;
    held(&double, 1).await;
    double.say_index(Some(None));
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::Malformed, "{failure:?}");
    assert!(failure.detail.contains("no X-Consul-Index"), "{failure:?}");
    double.say_index(None);
    watched.until(&["10.0.0.1:1"]).await;
}

/// Requests that may be made in so long: a full bucket, and two a second.
fn allowed(time: Duration) -> u64 {
    5 + (2.0 * time.as_secs_f64()).ceil() as u64 + 1
}

#[tokio::test]
async fn a_service_that_changes_all_the_time_is_asked_for_twice_a_second() {
    let double = double().await;
    double.register("orders", at("a", 1));
    let mut watched = Watched::start(ConsulSource::new(of(&["orders"], &double)));
    watched.until(&["10.0.0.1:1"]).await;
    let (began, before) = (Instant::now(), double.server.requests());
    while began.elapsed() < Duration::from_secs(3) {
        double.touch("orders");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let made = double.server.requests() - before;
    assert!(made <= allowed(began.elapsed()), "{made} in {:?}", began.elapsed());
    // In the middle of it a change is told as soon as ever.
    double.register("orders", at("b", 2));
    assert!(watched.until(&["10.0.0.1:1", "10.0.0.1:2"]).await < SOON);
}

#[tokio::test]
async fn an_index_of_zero_is_no_busy_loop() {
    let double = double().await;
    double.register("orders", at("a", 1));
    double.say_index(Some(Some(0)));
    let mut watched = Watched::start(ConsulSource::new(of(&["orders"], &double)));
    watched.until(&["10.0.0.1:1"]).await;
    let (began, before) = (Instant::now(), double.server.requests());
    watched.listen(Duration::from_secs(3)).await;
    let made = double.server.requests() - before;
    assert!(made <= allowed(began.elapsed()), "{made} in {:?}", began.elapsed());
    double.register("orders", at("b", 2));
    assert!(watched.until(&["10.0.0.1:1", "10.0.0.1:2"]).await < SOON);
}

#[tokio::test]
async fn a_server_that_fails_is_asked_less_and_less() {
    let double = double().await;
    double.server.set_fault(Some(Fault::no_leader()));
    let mut watched = Watched::start(ConsulSource::new(of(&["orders"], &double)));
    watched.listen(Duration::from_secs(4)).await;
    // At 0 s, then after pauses of at least 0.25, 0.5, 1 and 2 s.
    let made = double.server.requests();
    assert!((3..=5).contains(&made), "{made}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_pause_gets_it() {
    let double = double().await;
    let busy = Fault::Status { code: 429, body: String::new(), retry_after: Some(3) };
    double.server.set_fault(Some(busy));
    let mut watched = Watched::start(ConsulSource::new(of(&["orders"], &double)));
    watched.listen(Duration::from_secs(2)).await;
    assert_eq!(double.server.requests(), 1);
    assert_eq!(watched.failures.len(), 1);
}

#[tokio::test]
async fn a_dropped_source_asks_nobody() {
    let double = double().await;
    double.register("orders", at("a", 1));
    let plan = ConsulPlan { wait: Duration::from_secs(1), ..plan(&double) };
    let mut watched = Watched::start(ConsulSource::new(plan));
    watched.until(&["10.0.0.1:1"]).await;
    drop(watched);
    // What was on its way has arrived by then.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = double.server.requests();
    double.touch("orders");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(double.server.requests(), before);
}
