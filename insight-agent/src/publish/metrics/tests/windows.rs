//! Gauges from windows: what was not measured is not there.

use super::*;
use crate::model::status::MeasurementState;
use std::sync::atomic::{AtomicBool, Ordering};

const LEDGER: &str = "insight_path_ledger_seconds";
const SAMPLES: &str = "insight_path_ledger_samples";

fn fixture() -> (Metrics, Window) {
    let plan = plan("checkout", "sg");
    (Metrics::new(&agent(), WINDOW, std::slice::from_ref(&plan)), window(&plan))
}

#[test]
fn window_becomes_gauges_in_the_units_of_the_table() {
    let (metrics, window) = fixture();
    publish(&metrics, &window);
    let shown = scrape(&metrics);
    assert_eq!(shown.value("cross_region_latency_ms", &[("source", "eu"), ("target", "sg")]), Some(103.5));
    let mean = |segment, evidence| shown.value(LEDGER, &[("segment", segment), ("evidence", evidence)]);
    assert_eq!(mean("link:prober>mediary-eu", "handshake"), Some(0.001));
    assert_eq!(mean("hop:mediary-eu", "hop_header"), Some(0.04));
    assert_eq!(mean("unexplained", "difference"), Some(-0.002));
    assert_eq!(shown.value("insight_path_ledger_end_to_end_seconds", &[]), Some(0.103));
    assert_eq!(shown.value("insight_path_ledger_residual_seconds", &[]), Some(0.0));
    assert_eq!(shown.value("insight_probe_success_ratio", &[("mode", "white-box")]), Some(0.75));
    assert_eq!(shown.value("insight_probe_ruler_seconds", &[("ruler", "ack")]), Some(0.0012));
    assert_eq!(shown.value("insight_probe_ruler_seconds", &[("ruler", "ping")]), Some(0.0034));
    assert_eq!(shown.value("insight_probe_ruler_seconds", &[("ruler", "handshake")]), None);
}

#[test]
fn what_a_service_says_of_itself_is_shown_and_what_it_does_not_say_is_absent() {
    let (metrics, mut window) = fixture();
    window.probes[0].service = ServiceWindow {
        times: [Some(0.002), None],
        ratios: [Some(0.5), None, Some(1.5)],
        rates: [Some(120.0), None],
        named: vec![("queue".to_owned(), 7.0)],
    };
    publish(&metrics, &window);
    let shown = scrape(&metrics);
    let figure = |name: &str, label: &str, value: &str| {
        let labels = [("probe", "checkout"), ("connection", "reused"), (label, value)];
        shown.value(&format!("insight_probe_service_{name}"), &labels)
    };
    assert_eq!(figure("seconds", "figure", "server"), Some(0.002));
    assert_eq!(figure("seconds", "figure", "load_balancer"), None);
    assert_eq!(figure("load_ratio", "kind", "cpu"), Some(0.5));
    assert_eq!(figure("load_ratio", "kind", "memory"), None);
    assert_eq!(figure("load_ratio", "kind", "application"), Some(1.5));
    assert_eq!(figure("load_per_second", "kind", "requests"), Some(120.0));
    assert_eq!(figure("load_per_second", "kind", "errors"), None);
    assert_eq!(figure("load_metric", "metric", "queue"), Some(7.0));
}

#[test]
fn the_two_ledgers_of_a_path_are_told_apart_and_silence_has_an_age() {
    let (metrics, mut window) = fixture();
    let second = of_nodes(&window.paths[0].ledgers[0]);
    window.paths[0].ledgers.push(second);
    // No request was answered: what the nodes measured stands all the same.
    window.paths[0].ledgers.iter_mut().for_each(|ledger| ledger.count = 0);
    publish(&metrics, &window);
    let shown = scrape(&metrics);
    let link = |ledger| shown.value(LEDGER, &[("ledger", ledger), ("segment", "link:prober>mediary-eu")]);
    assert_eq!((link("probe"), link("window")), (None, Some(0.002)));
    assert_eq!(shown.value(LEDGER, &[("segment", "hop:mediary-eu")]), None);
    let age = |segment| shown.value("insight_path_ledger_age_seconds", &[("segment", segment)]);
    assert_eq!((age("hop:mediary-eu"), age("link:prober>mediary-eu")), (Some(4.0), Some(0.0)));
}

#[test]
fn a_hops_cpus_are_shown_once_for_all_probes_and_what_is_not_known_is_absent() {
    let (metrics, mut window) = fixture();
    let mut of_nodes = of_nodes(&window.paths[0].ledgers[0]);
    let host = HopHost { busy_ratio: Some(0.97), throttled_ratio: Some(0.0), run_delay_ratio: None };
    of_nodes.segments[1].host = Some(host);
    let other = LedgerWindow { probe: "other".into(), ..of_nodes.clone() };
    window.paths[0].ledgers.extend([of_nodes, other]);
    publish(&metrics, &window);
    let shown = scrape(&metrics);
    let labels = [("source", "eu"), ("target", "sg"), ("hop", "mediary-eu")];
    let ratio = |name: &str| shown.value(&format!("insight_path_hop_{name}_ratio"), &labels);
    assert_eq!([ratio("busy"), ratio("throttled"), ratio("run_delay")], [Some(0.97), Some(0.0), None]);
}

#[test]
fn silent_segment_has_no_mean_and_a_count_of_zero() {
    let (metrics, window) = fixture();
    publish(&metrics, &window);
    let shown = scrape(&metrics);
    assert_eq!(shown.value(LEDGER, &[("segment", "service")]), None);
    assert_eq!(shown.value(SAMPLES, &[("segment", "service")]), Some(0.0));
    assert_eq!(shown.value(SAMPLES, &[("segment", "unexplained")]), Some(10.0));
}

#[test]
fn figures_that_are_not_known_any_more_are_gone() {
    let (metrics, mut window) = fixture();
    publish(&metrics, &window);
    window.paths[0].cross_region_latency = None;
    let ledger = &mut window.paths[0].ledgers[0];
    (ledger.count, ledger.end_to_end, ledger.unexplained, ledger.residual) = (0, None, None, None);
    ledger.segments = vec![segment("hop:mediary-eu", None, None)];
    (window.probes[0].ended, window.probes[0].good, window.probes[0].rulers) = (0, 0, [None; 4]);
    publish(&metrics, &window);
    let shown = scrape(&metrics);
    for gauge in [
        "cross_region_latency_ms",
        LEDGER,
        SAMPLES,
        "insight_path_ledger_end_to_end_seconds",
        "insight_path_ledger_residual_seconds",
        "insight_probe_success_ratio",
        "insight_probe_ruler_seconds",
    ] {
        assert!(!shown.families.contains_key(gauge), "{gauge} is still there");
    }
}

#[test]
fn changed_evidence_leaves_no_old_series_behind() {
    let (metrics, mut window) = fixture();
    publish(&metrics, &window);
    window.paths[0].ledgers[0].segments[0].evidence = Some(Evidence::HeaderDifference);
    publish(&metrics, &window);
    let shown = scrape(&metrics);
    let link: Vec<_> = shown
        .samples(LEDGER, &[("segment", "link:prober>mediary-eu")])
        .map(|s| s.labels["evidence"].clone())
        .collect();
    assert_eq!(link, ["header_difference"]);
}

#[test]
fn window_is_hidden_when_no_newer_one_comes() {
    let (metrics, mut window) = fixture();
    let has_latency = |metrics: &Metrics| scrape(metrics).families.contains_key("cross_region_latency_ms");
    window.length = Duration::from_millis(1000);
    window.ended = Instant::now().checked_sub(Duration::from_millis(3001)).unwrap();
    publish(&metrics, &window);
    assert!(!has_latency(&metrics), "it ended more than three lengths ago");
    window.length = Duration::from_secs(100);
    publish(&metrics, &window);
    assert!(has_latency(&metrics), "it ended less than three lengths ago");
}

#[test]
fn inconsistent_entries_add_up_over_windows_and_start_at_zero() {
    let (metrics, mut window) = fixture();
    let name = "insight_path_ledger_inconsistent_total";
    publish(&metrics, &window);
    assert_eq!(scrape(&metrics).value(name, &[("segment", "hop:mediary-eu")]), Some(0.0));
    window.paths[0].ledgers[0].segments[1].inconsistent = 2;
    publish(&metrics, &window);
    publish(&metrics, &window);
    assert_eq!(scrape(&metrics).value(name, &[("segment", "hop:mediary-eu")]), Some(4.0));
}

#[test]
fn not_a_number_is_not_exported() {
    let (metrics, mut window) = fixture();
    window.paths[0].ledgers[0].end_to_end = Some(f64::NAN);
    window.paths[0].ledgers[0].residual = Some(f64::INFINITY);
    publish(&metrics, &window);
    let shown = scrape(&metrics);
    assert!(!shown.families.contains_key("insight_path_ledger_end_to_end_seconds"));
    assert!(!shown.families.contains_key("insight_path_ledger_residual_seconds"));
}

#[test]
fn measurement_shows_only_the_state_it_is_in() {
    let (metrics, _) = fixture();
    let mut status = MeasurementStatus {
        node: "node-1".to_owned(),
        name: "ping".to_owned(),
        state: MeasurementState::Active,
        reason: String::new(),
        detail: String::new(),
    };
    metrics.publish_measurements(std::slice::from_ref(&status));
    (status.state, status.reason) = (MeasurementState::Failed, "unreadable".to_owned());
    metrics.publish_measurements(&[status]);
    let shown = scrape(&metrics);
    let samples: Vec<_> = shown.samples("insight_measurement_state", &[]).collect();
    assert_eq!(samples.len(), 1, "{samples:?}");
    assert!(samples[0].has(&[("state", "failed"), ("reason", "unreadable"), ("measurement", "ping")]));
}

#[test]
fn scrape_never_sees_half_of_a_window() {
    let (metrics, first) = fixture();
    let mut second = first.clone();
    for segment in &mut second.paths[0].ledgers[0].segments {
        (segment.mean, segment.evidence, segment.count) = (Some(7.0), Some(Evidence::Prober), 1);
    }
    second.paths[0].ledgers[0].unexplained = Some(7.0);
    publish(&metrics, &first);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..2000 {
                publish(&metrics, if i % 2 == 0 { &second } else { &first });
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let shown = scrape(&metrics);
            let means: Vec<_> = shown.samples(LEDGER, &[]).map(|s| s.value).collect();
            let sevens = means.iter().filter(|&&v| v == 7.0).count();
            assert!((means.len(), sevens) == (3, 0) || (means.len(), sevens) == (4, 4), "{means:?}");
        }
    });
}
