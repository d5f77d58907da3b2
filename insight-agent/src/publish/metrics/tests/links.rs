//! Series of link probes.

use super::*;

const RTT: &str = "insight_link_rtt_seconds";
const FLOOR: &str = "insight_link_rtt_floor_seconds";

fn ruler(name: &str) -> [(&str, &str); 3] {
    [("from", "prober"), ("to", "mediary-eu"), ("ruler", name)]
}

#[test]
fn each_ruler_of_a_link_has_its_distribution_and_no_probe_latency() {
    let plan = link_plan("link-a");
    let metrics = Metrics::new(&agent(), WINDOW, std::slice::from_ref(&plan));
    let us = Duration::from_micros;
    for (connection, round_trip) in
        [(Connection::Fresh, us(40)), (Connection::Fresh, us(60)), (Connection::Reused, us(900))]
    {
        metrics.observe(&link_sample(&plan, connection, round_trip));
    }
    let voided = link_sample(&plan, Connection::Reused, us(5_000));
    metrics.observe(&ProbeSample { outcome: Outcome::Voided(None), ..voided });
    let lost = ProbeSample { rulers: Rulers::default(), ..link_sample(&plan, Connection::Fresh, us(1)) };
    metrics.observe(&ProbeSample { outcome: failed(), ..lost });
    let shown = scrape(&metrics);
    let handshakes = shown.histogram(RTT, &ruler("handshake")).unwrap();
    assert_eq!(handshakes.count, 2.0);
    assert!((handshakes.sum - 0.0001).abs() < 1e-9, "{}", handshakes.sum);
    assert_eq!(shown.histogram(RTT, &ruler("ping")).unwrap().count, 1.0, "voided PINGs stay out");
    for family in
        ["insight_probe_duration_seconds", "insight_probe_phase_seconds", "insight_probe_late_total"]
    {
        assert!(!shown.families.contains_key(family), "{family}");
    }
    let results = |connection, status| {
        let labels = [("mode", "link"), ("connection", connection), ("status", status)];
        shown.value("insight_probe_results_total", &labels)
    };
    assert_eq!((results("fresh", "OK"), results("fresh", "UNAVAILABLE")), (Some(2.0), Some(1.0)));
    assert_eq!(results("reused", "OK"), Some(2.0));
    let refused = [("mode", "link"), ("class", "refused")];
    assert_eq!(shown.value("insight_probe_failures_total", &refused), Some(1.0));
}

#[test]
fn a_link_without_pings_has_one_distribution_before_its_first_sample() {
    let plan = link_plan("link-a");
    let plan = Arc::new(ProbePlan { ping: false, ..(*plan).clone() });
    let shown = scrape(&Metrics::new(&agent(), WINDOW, &[plan]));
    assert_eq!(shown.histogram(RTT, &ruler("handshake")).unwrap().count, 0.0);
    assert!(shown.histogram(RTT, &ruler("ping")).is_none());
}

#[test]
fn the_floor_is_of_the_last_window_and_absent_without_a_sample() {
    let plan = link_plan("link-a");
    let metrics = Metrics::new(&agent(), WINDOW, std::slice::from_ref(&plan));
    let mut window = window(&plan);
    publish(&metrics, &window);
    let shown = scrape(&metrics);
    assert_eq!(shown.value(FLOOR, &ruler("ping")), Some(0.003));
    assert_eq!(shown.samples(FLOOR, &[]).count(), 1, "the kernel's ACK is no ruler of a link");
    window.probes[0].floors = [None; 4];
    publish(&metrics, &window);
    assert!(!scrape(&metrics).families.contains_key(FLOOR));
}

#[test]
fn probes_with_an_rpc_are_not_links() {
    let plan = plan("checkout", "sg");
    let metrics = Metrics::new(&agent(), WINDOW, std::slice::from_ref(&plan));
    let rulers = Rulers { handshake: Some(Duration::from_millis(1)), ..Rulers::default() };
    metrics.observe(&ProbeSample { rulers, ..sample(&plan, Outcome::Ok) });
    publish(&metrics, &window(&plan));
    let shown = scrape(&metrics);
    assert!(!shown.families.contains_key(RTT) && !shown.families.contains_key(FLOOR));
}
