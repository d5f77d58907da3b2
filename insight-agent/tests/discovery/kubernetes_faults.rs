//! An API server that forgets, fails, or talks nonsense.

use crate::kubernetes::{double, lists_and_watches, orders, plan, running, watched};
use crate::support::{SOON, Watched, faults};
use insight_agent::collect::discovery::kubernetes::KubernetesSource;
use insight_agent::model::discovery::LookupClass;
use insight_lab::doubles::Fault;
use std::time::{Duration, Instant};

#[tokio::test]
async fn every_fault_is_told_keeps_the_last_roster_and_passes() {
    let (double, mut watched) = watched().await;
    for (step, (fault, class)) in faults().into_iter().enumerate() {
        double.server.set_fault(Some(fault.clone()));
        // A torn watch is a cut one, and what it goes on with is torn as well: nobody is told, and nothing is lost.
        if let Some(class) = class.filter(|_| fault != Fault::Torn && fault != Fault::Garbage) {
            let mut failure = watched.until_failed().await;
            while failure.class != class {
                assert_eq!(failure.class, LookupClass::Unreachable, "{fault:?}: {failure:?}");
                failure = watched.until_failed().await;
            }
            assert!(failure.detail.starts_with("kubernetes at 127.0.0.1:"), "{failure:?}");
            assert!(
                failure.detail.contains(": GET /apis/discovery.k8s.io/v1/endpointslices: "),
                "{failure:?}"
            );
        }
        if fault == Fault::Garbage {
            let failure = watched.until_failed().await;
            assert_eq!(failure.class, LookupClass::Malformed, "{failure:?}");
        }
        assert_eq!(watched.addresses().unwrap().len(), 1 + step, "{fault:?}");
        double.apply(orders(&format!("s{step}"), &[&format!("10.0.1.{step}")]));
        double.server.set_fault(None);
        watched.until_count(2 + step).await;
        // A watch that lasts a second ends the growth of pauses, as it does between troubles that are real.
        running(&double).await;
        watched.listen(Duration::from_millis(1_300)).await;
    }
}

#[tokio::test]
async fn a_version_that_has_gone_is_answered_with_a_new_list() {
    let (double, mut watched) = watched().await;
    double.delete("shop", "orders-a");
    watched.until(&[]).await;
    // Told in the stream, and at the head of the next one.
    for (tell, address) in [(true, "10.0.0.2"), (false, "10.0.0.3")] {
        let lists = lists_and_watches(&double).0;
        double.compact(tell);
        if !tell {
            double.end_watches();
        }
        double.apply(orders("orders-b", &[address]));
        watched.until(&[&format!("{address}:443")]).await;
        running(&double).await;
        assert!(lists_and_watches(&double).0 > lists || !tell, "{:?}", double.server.seen());
    }
    assert_eq!(watched.failures, [], "it is how watches are meant to end");
}

#[tokio::test]
async fn an_error_event_is_a_failure_and_what_follows_is_a_new_list() {
    let (double, mut watched) = watched().await;
    double.fail_watches(500, "InternalError", "etcdserver: no leader");
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::Refused, "{failure:?}");
    assert!(failure.detail.contains("500 InternalError: etcdserver: no leader"), "{failure:?}");
    watched.until(&["10.0.0.1:443"]).await;
    assert_eq!(lists_and_watches(&double).0, 2);
    running(&double).await;
    double.fail_watches(403, "Forbidden", "not any more");
    assert_eq!(watched.until_failed().await.class, LookupClass::Denied);
}

#[tokio::test]
async fn a_line_that_is_torn_by_a_cut_is_asked_for_again() {
    let (double, mut watched) = watched().await;
    double.send_raw(br#"{"type": "DELETED", "object": {"metadata": {"na"#, true);
    double.apply(orders("orders-b", &["10.0.0.2"]));
    watched.until(&["10.0.0.1:443", "10.0.0.2:443"]).await;
    assert_eq!((watched.failures.as_slice(), lists_and_watches(&double).0), (&[][..], 1));
}

#[tokio::test]
async fn a_whole_line_that_is_no_event_is_a_failure_and_a_new_list() {
    let (double, mut watched) = watched().await;
    for line in [&b"<html>\n"[..], b"{\"type\": \"MOVED\", \"object\": {}}\n", b"{\"type\": \"ADDED\"}\n"] {
        let lists = lists_and_watches(&double).0;
        double.send_raw(line, false);
        let failure = watched.until_failed().await;
        assert_eq!(failure.class, LookupClass::Malformed, "{failure:?}");
        watched.until(&["10.0.0.1:443"]).await;
        running(&double).await;
        assert_eq!(lists_and_watches(&double).0, lists + 1);
    }
}

#[tokio::test]
async fn a_line_beyond_any_slice_is_given_up() {
    let (double, mut watched) = watched().await;
    double.send_raw(&vec![b'x'; 5 << 20], false);
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::TooMany, "{failure:?}");
    watched.until(&["10.0.0.1:443"]).await;
}

#[tokio::test]
async fn a_restarted_server_is_gone_on_with_and_its_changes_are_found() {
    let (mut double, mut watched) = watched().await;
    double.server.stop().await;
    assert_eq!(watched.until_failed().await.class, LookupClass::Unreachable);
    double.apply(orders("orders-b", &["10.0.0.2"]));
    double.server.restart().await.unwrap();
    watched.until(&["10.0.0.1:443", "10.0.0.2:443"]).await;
    assert_eq!(lists_and_watches(&double).0, 1);
    double.apply(orders("orders-c", &["10.0.0.3"]));
    assert!(watched.until(&["10.0.0.1:443", "10.0.0.2:443", "10.0.0.3:443"]).await < SOON);
}

#[tokio::test]
async fn a_trouble_that_passes_without_a_change_is_told_as_passed() {
    let (double, mut watched) = watched().await;
    double.server.set_fault(Some(Fault::status(503, "busy")));
    watched.until_failed().await;
    double.server.set_fault(None);
    watched.until(&["10.0.0.1:443"]).await;
}

#[tokio::test]
async fn watches_that_end_at_once_are_no_busy_loop() {
    let (double, mut watched) = watched().await;
    let (began, before) = (Instant::now(), double.server.requests());
    while began.elapsed() < Duration::from_secs(3) {
        double.end_watches();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // After pauses of at least 0.25, 0.5, 1 and 2 s.
    let made = double.server.requests() - before;
    assert!(made <= 5, "{made} in {:?}", began.elapsed());
    double.apply(orders("orders-b", &["10.0.0.2"]));
    watched.until(&["10.0.0.1:443", "10.0.0.2:443"]).await;
    assert_eq!(watched.failures, []);
}

#[tokio::test]
async fn versions_that_are_always_gone_are_no_busy_loop() {
    let (double, mut watched) = watched().await;
    let (began, before) = (Instant::now(), double.server.requests());
    while began.elapsed() < Duration::from_secs(3) {
        double.compact(true);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A list and a watch each time.
    let made = double.server.requests() - before;
    assert!(made <= 11, "{made} in {:?}", began.elapsed());
    double.apply(orders("orders-b", &["10.0.0.2"]));
    watched.until(&["10.0.0.1:443", "10.0.0.2:443"]).await;
}

#[tokio::test]
async fn a_dropped_source_ends_its_watch() {
    let (double, watched) = watched().await;
    drop(watched);
    crate::support::wait_for("the end of the watch", || double.watches() == 0).await;
}

#[tokio::test]
async fn an_unreachable_server_is_told_from_the_first_try_on() {
    let mut double = double().await;
    double.server.stop().await;
    let mut watched = Watched::start(KubernetesSource::new(plan(&double)));
    let failure = watched.until_failed().await;
    assert_eq!(failure.class, LookupClass::Unreachable);
    assert!(failure.detail.contains("connect: Connection refused"), "{failure:?}");
    assert_eq!(watched.roster, None);
}
