//! Counters and histograms from samples.

use super::*;
use crate::model::connection_event::{ConnectionEvent, EventKind, EventReason};
use crate::model::series::probe::HISTOGRAM_PROBES_MOST;

const REUSED: [(&str, &str); 2] = [("probe", "checkout"), ("connection", "reused")];

fn observed(outcomes: Vec<Outcome>) -> (Metrics, Exposition) {
    let plan = plan("checkout", "sg");
    let metrics = Metrics::new(&agent(), WINDOW, std::slice::from_ref(&plan));
    for outcome in outcomes {
        metrics.observe(&sample(&plan, outcome));
    }
    let shown = scrape(&metrics);
    (metrics, shown)
}

fn result(shown: &Exposition, status: &str) -> Option<f64> {
    shown.value("insight_probe_results_total", &[REUSED[0], REUSED[1], ("status", status)])
}

#[test]
fn configured_probe_has_counters_and_histograms_before_its_first_sample() {
    let (_, shown) = observed(Vec::new());
    for connection in ["reused", "fresh"] {
        let labels = [("probe", "checkout"), ("connection", connection)];
        let ok = [labels[0], labels[1], ("status", "OK")];
        assert_eq!(shown.value("insight_probe_results_total", &ok), Some(0.0));
        assert_eq!(shown.value("insight_probe_late_total", &labels), Some(0.0));
        for family in ["insight_probe_duration_seconds", "insight_probe_schedule_lag_seconds"] {
            assert_eq!(shown.histogram(family, &labels).unwrap().count, 0.0, "{family}");
        }
    }
    let phases = |connection| {
        let labels = [("connection", connection)];
        let counts = shown.samples("insight_probe_phase_seconds_count", &labels);
        counts.map(|s| s.labels["phase"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(phases("reused"), ["request", "response", "wait"]);
    assert_eq!(phases("fresh"), ["connect", "dns", "http2", "request", "response", "wait"], "no tls here");
    for absent in ["insight_probe_failures_total", "insight_probe_success_ratio", "cross_region_latency_ms"] {
        assert!(!shown.families.contains_key(absent), "{absent}");
    }
    assert_eq!(shown.value("insight_lost_total", &[("loss", "voided")]), Some(0.0));
}

#[test]
fn only_measurements_enter_the_latency_histograms() {
    let (_, shown) = observed(vec![Outcome::Ok, Outcome::Late, Outcome::Voided(None), failed()]);
    let duration = shown.histogram("insight_probe_duration_seconds", &REUSED).unwrap();
    assert_eq!(duration.count, 2.0);
    assert!((duration.mean().unwrap() - 0.103).abs() < 1e-9, "{:?}", duration.mean());
    let wait = [REUSED[0], REUSED[1], ("phase", "wait")];
    let of_wait = |what: &str| shown.value(&format!("insight_probe_phase_seconds_{what}"), &wait);
    assert_eq!((of_wait("count"), of_wait("sum")), (Some(2.0), Some(0.2)));
    let lag = shown.histogram("insight_probe_schedule_lag_seconds", &REUSED).unwrap();
    assert_eq!(lag.count, 4.0, "every sample has a lag, however it ended");
}

#[test]
fn with_many_probes_histograms_are_of_paths_and_with_few_again_of_probes() {
    let plans = |count: usize| -> Vec<Arc<ProbePlan>> {
        (0..count).map(|at| plan(&format!("p{at}"), if at % 2 == 0 { "sg" } else { "us" })).collect()
    };
    let many = plans(HISTOGRAM_PROBES_MOST + 1);
    let metrics = Metrics::new(&agent(), WINDOW, &many);
    for plan in &many[..4] {
        metrics.observe(&sample(plan, Outcome::Ok));
    }
    let shown = scrape(&metrics);
    let of = |shown: &Exposition, target| {
        let labels = [("target", target), ("probe", ""), ("connection", "reused")];
        shown.histogram("insight_probe_duration_seconds", &labels).map(|histogram| histogram.count)
    };
    assert_eq!((of(&shown, "sg"), of(&shown, "us")), (Some(2.0), Some(2.0)));
    assert_eq!(
        shown.samples("insight_probe_duration_seconds_count", &[]).count(),
        4,
        "two paths, two connections"
    );
    let ok = [("probe", "p3"), ("status", "OK"), ("connection", "reused")];
    assert_eq!(shown.value("insight_probe_results_total", &ok), Some(1.0), "counters stay the probe's own");
    let sum = [("probe", "p3"), ("phase", "wait"), ("connection", "reused")];
    assert_eq!(shown.value("insight_probe_phase_seconds_count", &sum), Some(1.0));

    metrics.set_plans(&many[..3]);
    let shown = scrape(&metrics);
    assert_eq!((of(&shown, "sg"), of(&shown, "us")), (None, None));
    assert_eq!(shown.samples("insight_probe_duration_seconds_count", &[]).count(), 6);
    metrics.set_plans(&many);
    assert_eq!(scrape(&metrics).samples("insight_probe_schedule_lag_seconds_count", &[]).count(), 4);
}

#[test]
fn every_sample_has_one_result_and_a_failure_its_class() {
    let (metrics, shown) =
        observed(vec![Outcome::Ok, Outcome::Late, Outcome::Voided(None), failed(), failed()]);
    assert_eq!(result(&shown, "OK"), Some(3.0));
    assert_eq!(result(&shown, "UNAVAILABLE"), Some(2.0));
    assert_eq!(result(&shown, "INTERNAL"), None, "a status that did not occur is absent");
    assert_eq!(shown.value("insight_probe_late_total", &REUSED), Some(1.0));
    let refused = [("class", "refused"), ("phase", "connect")];
    assert_eq!(shown.value("insight_probe_failures_total", &refused), Some(2.0));
    let voided = LossStatus { measurement: "probe".to_owned(), loss: "voided".to_owned(), count: 1 };
    assert_eq!(metrics.lost_snapshot(), [voided]);
}

#[test]
fn a_voided_failure_is_counted_as_a_loss_and_nowhere_else() {
    let Outcome::Failed(failure) = failed() else { panic!("no failure") };
    let (_, shown) = observed(vec![Outcome::Voided(Some(failure))]);
    assert_eq!(shown.value("insight_lost_total", &[("loss", "voided")]), Some(1.0));
    assert_eq!(result(&shown, "OK"), Some(0.0));
    assert_eq!(result(&shown, "UNAVAILABLE"), None);
    assert!(!shown.families.contains_key("insight_probe_failures_total"));
    assert_eq!(shown.histogram("insight_probe_duration_seconds", &REUSED).unwrap().count, 0.0);
}

#[test]
fn what_happens_on_connections_is_counted_and_goes_with_its_plan() {
    let plan = plan("checkout", "sg");
    let metrics = Metrics::new(&agent(), WINDOW, std::slice::from_ref(&plan));
    let interval = "insight_probe_ping_interval_seconds";
    assert!(!scrape(&metrics).families.contains_key(interval), "nobody has objected");
    let event = ConnectionEvent { kind: EventKind::Goaway, reason: EventReason::TooManyPings };
    metrics.connection_event(&plan, Connection::Reused, event, 2);
    metrics.connection_event(&plan, Connection::Reused, event, 1);
    metrics.ping_interval(&plan, Duration::from_secs(2));
    metrics.ping_interval(&plan, Duration::from_secs(4));
    let shown = scrape(&metrics);
    let labels = [("probe", "checkout"), ("event", "goaway"), ("reason", "too_many_pings")];
    assert_eq!(shown.value("insight_probe_connection_events_total", &labels), Some(3.0));
    assert_eq!(shown.value(interval, &[("probe", "checkout")]), Some(4.0));
    // The same probe, begun anew, has not been told anything.
    metrics.set_plans(&[Arc::new(ProbePlan::clone(&plan))]);
    let shown = scrape(&metrics);
    assert!(!shown.families.contains_key(interval));
    assert_eq!(shown.value("insight_probe_connection_events_total", &labels), Some(3.0));
}

#[test]
fn losses_add_up_by_measurement_and_kind() {
    let plan = plan("checkout", "sg");
    let metrics = Metrics::new(&agent(), WINDOW, std::slice::from_ref(&plan));
    let mut bad = sample(&plan, Outcome::Ok);
    bad.hops.malformed = vec![(HopSource::InsightHop, 2), (HopSource::ServerTiming, 1)];
    bad.hops.capped = vec![(HopSource::EnvoyUpstream, 4)];
    metrics.observe(&bad);
    metrics.lost("ping", Loss::BackedOff, 5);
    metrics.lost("ping", Loss::BackedOff, 1);
    let shown = scrape(&metrics);
    for (measurement, loss, count) in
        [("hop_headers", "malformed", 3.0), ("hop_headers", "capped", 4.0), ("ping", "backed_off", 6.0)]
    {
        let labels = [("measurement", measurement), ("loss", loss)];
        assert_eq!(shown.value("insight_lost_total", &labels), Some(count), "{labels:?}");
    }
    let counts: Vec<_> = metrics.lost_snapshot().iter().map(|l| l.count).collect();
    assert_eq!(counts, [3, 4, 6], "zeros are left out");
}

#[test]
fn sample_of_an_unplanned_probe_is_counted_under_its_own_labels() {
    let metrics = Metrics::new(&agent(), WINDOW, &[plan("checkout", "sg")]);
    let moved = plan("checkout", "us");
    metrics.observe(&sample(&moved, Outcome::Ok));
    metrics.observe(&sample(&moved, Outcome::Ok));
    let shown = scrape(&metrics);
    let count =
        |target| shown.value("insight_probe_duration_seconds_count", &[("target", target), REUSED[1]]);
    assert_eq!((count("us"), count("sg")), (Some(2.0), Some(0.0)));
}

#[test]
fn observation_is_cheap() {
    let plan = plan("checkout", "sg");
    let metrics = Metrics::new(&agent(), WINDOW, std::slice::from_ref(&plan));
    let sample = sample(&plan, Outcome::Ok);
    // The best of several rounds: the others were disturbed by the machine's other work.
    let best = (0..20)
        .map(|_| {
            let start = Instant::now();
            (0..1000).for_each(|_| metrics.observe(&sample));
            start.elapsed() / 1000
        })
        .min()
        .unwrap();
    assert!(best < Duration::from_micros(10), "an observation took {best:?}");
}
