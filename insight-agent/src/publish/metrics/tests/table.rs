//! The exporter against the declared table.

use super::exposition::{Labels, Type};
use super::*;
use crate::door::{Door, Limits};
use crate::model::burst::{Burst, BurstCause};
use crate::model::certificate::Certificates;
use crate::model::connection_event::{ConnectionEvent, EventKind, EventReason};
use crate::model::discovery::state::Success;
use crate::model::health::{HealthEvent, ServingState};
use crate::model::series::{self, Kind, Values};
use crate::model::status::MeasurementState;
use proptest::prelude::*;

/// A registry in which every family has data.
fn full() -> Metrics {
    let plan = plan("checkout", "sg");
    let link = link_plan("link-a");
    let metrics = Metrics::new(&agent(), WINDOW, &[Arc::clone(&plan), Arc::clone(&link)]);
    metrics.observe(&sample(&plan, Outcome::Ok));
    metrics.observe(&sample(&plan, failed()));
    let event = ConnectionEvent { kind: EventKind::SendStall, reason: EventReason::Socket };
    metrics.connection_event(&plan, Connection::Reused, event, 1);
    metrics.ping_interval(&plan, Duration::from_secs(2));
    metrics.certificates(&plan, Certificates { client: Some(1), ca: Some(2), server: Some(3) });
    metrics.observe(&ProbeSample { slot: Some(1), opened: true, ..sample(&plan, Outcome::Ok) });
    metrics.observe(&ProbeSample { slot: Some(1), ..sample(&plan, failed()) });
    metrics.observe(&streamed(&plan, Duration::from_millis(40)));
    metrics.health(&plan, &HealthEvent::Told(ServingState::Serving));
    let Outcome::Failed(failure) = failed() else { panic!("it failed") };
    metrics.health(&plan, &HealthEvent::Broken(failure));
    metrics.health(&plan, &HealthEvent::Told(ServingState::NotServing));
    let mut burst = Burst::new(BurstCause::Latency, WINDOW, Instant::now());
    burst.add(&sample(&plan, Outcome::Ok));
    metrics.burst(&plan, &burst);
    let mut window = window(&plan);
    window.probes.extend(super::window(&link).probes);
    let second = of_nodes(&window.paths[0].ledgers[0]);
    window.paths[0].ledgers.push(second);
    publish(&metrics, &window);
    metrics.publish_kernel(sockets::snapshot(), &sockets::names());
    metrics.publish_host(Arc::new(host::snapshot()));
    metrics.publish_measurements(&[MeasurementStatus {
        node: "node-1".to_owned(),
        name: "probe".to_owned(),
        state: MeasurementState::Active,
        reason: String::new(),
        detail: String::new(),
    }]);
    let mut state = DiscoveryState::new("receivers".to_owned(), "file");
    state.endpoints = Some(3);
    state.success = Some(Success { at: Instant::now(), since_epoch: Some(WINDOW) });
    metrics.publish_discoveries(vec![state]);
    metrics.show_listeners(vec![("grpc", Door::new(Limits::new(2, 1)))]);
    metrics
}

#[test]
fn exporter_shows_exactly_the_declared_families() {
    let shown = scrape(&full()).families;
    let declared: BTreeMap<_, _> = series::all().map(|s| (s.name, s)).collect();
    let missing: Vec<_> = declared.keys().filter(|name| !shown.contains_key(**name)).collect();
    let undeclared: Vec<_> = shown.keys().filter(|name| !declared.contains_key(name.as_str())).collect();
    assert!(missing.is_empty() && undeclared.is_empty(), "missing {missing:?}, not declared {undeclared:?}");
    for (name, row) in declared {
        let family = &shown[name];
        let kind = match row.kind {
            Kind::Counter => Type::Counter,
            Kind::Gauge => Type::Gauge,
            Kind::Untyped => Type::Untyped,
            Kind::Histogram(_) => Type::Histogram,
            Kind::Summary => Type::Summary,
        };
        assert_eq!(family.kind, kind, "{name}");
        assert_eq!(family.help.as_deref(), Some(row.help), "{name}");
        for sample in &family.samples {
            check_labels(row, &sample.name, &sample.labels);
        }
        if let Kind::Histogram(bounds) = row.kind {
            check_bounds(row, bounds);
        }
    }
}

fn check_labels(row: &series::Series, sample: &str, labels: &Labels) {
    let mut names: Vec<_> = row.labels.iter().map(|l| l.name).collect();
    if sample.ends_with("_bucket") {
        names.push("le");
    }
    names.sort_unstable();
    assert_eq!(labels.keys().map(String::as_str).collect::<Vec<_>>(), names, "{sample}");
    for label in row.labels {
        if let Values::Closed(set) = label.values {
            let value = labels[label.name].as_str();
            assert!(set.contains(&value), "{sample}: {}={value:?} is not in the table", label.name);
        }
    }
}

fn check_bounds(row: &series::Series, declared: &[f64]) {
    let name = row.name;
    // One series of several: they all have the same bounds.
    let has = |name: &str| row.labels.iter().any(|label| label.name == name);
    let one: &[(&str, &str)] = if has("ruler") {
        &[("ruler", "ping")]
    } else if has("connection") {
        &[("connection", "reused")]
    } else {
        &[]
    };
    let histogram = scrape(&full()).histogram(name, one).unwrap();
    let bounds: Vec<_> = histogram.buckets.iter().map(|b| b.0).filter(|b| b.is_finite()).collect();
    assert_eq!(bounds, declared, "{name}");
}

#[test]
fn agent_families_are_there_from_the_start() {
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let shown = scrape(&Metrics::new(&agent(), WINDOW, &[]));
    let labels = [("version", "1.2.3"), ("region", "eu"), ("node", "node-1")];
    assert_eq!(shown.value("insight_build_info", &labels), Some(1.0));
    assert_eq!(shown.value("insight_window_seconds", &[]), Some(10.0));
    let start = shown.value("insight_start_time_seconds", &[]).unwrap();
    assert!((before - 1.0..before + 60.0).contains(&start), "{start} is not about {before}");
    assert!(!shown.families.contains_key("insight_measurement_state"));
}

proptest! {
    #[test]
    fn any_configured_name_survives_as_a_label_value(name in "\\PC*|[\"\\\\\n{},= #]*", region in any::<String>()) {
        let plan = plan(&name, &region);
        let metrics = Metrics::new(&agent(), WINDOW, std::slice::from_ref(&plan));
        metrics.observe(&sample(&plan, Outcome::Ok));
        publish(&metrics, &window(&plan));
        let shown = scrape(&metrics);
        let labels = [("probe", name.as_str()), ("target", region.as_str())];
        prop_assert_eq!(shown.value("insight_probe_success_ratio", &labels), Some(0.75));
        let ok = [labels[0], labels[1], ("connection", "reused"), ("status", "OK")];
        prop_assert_eq!(shown.value("insight_probe_results_total", &ok), Some(1.0));
        prop_assert_eq!(shown.value("cross_region_latency_ms", &labels[1..]), Some(103.5));
    }
}

/// The labels of each series but `le`, by the name of its lines, in the order of the page.
fn in_page_order(page: &str) -> BTreeMap<&str, Vec<Vec<&str>>> {
    let mut shown = BTreeMap::<_, Vec<Vec<&str>>>::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (sample, _) = line.rsplit_once(' ').unwrap();
        let (name, pairs) = sample.split_once('{').unwrap_or((sample, ""));
        let values = pairs.trim_end_matches('}').split("\",").filter(|pair| !pair.starts_with("le="));
        let values = values.map(|pair| pair.split_once("=\"").map_or("", |(_, value)| value)).collect();
        let all = shown.entry(name).or_default();
        if !name.ends_with("_bucket") || all.last() != Some(&values) {
            all.push(values);
        }
    }
    shown
}

#[test]
fn series_are_in_order_and_none_is_there_twice() {
    // Neither is the window in order, nor is everything in it once.
    let names = [("b", "us"), ("a-1", "sg"), ("c", "us"), ("a", "us"), ("b", "sg"), ("a", "us")];
    let plans: Vec<_> = names.map(|(name, target)| plan(name, target)).into();
    let metrics = Metrics::new(&agent(), WINDOW, &plans);
    let windows: Vec<_> = plans.iter().map(window).collect();
    let mut all = windows[0].clone();
    all.paths = windows.iter().flat_map(|window| window.paths.clone()).collect();
    all.probes = windows.into_iter().flat_map(|window| window.probes).collect();
    for path in &mut all.paths {
        let second = of_nodes(&path.ledgers[0]);
        path.ledgers.insert(0, second);
    }
    publish(&metrics, &all);
    let page = metrics.render();
    let shown = in_page_order(&page);
    assert_eq!(shown["insight_probe_success_ratio"].len(), 5);
    assert_eq!(shown["insight_path_ledger_end_to_end_seconds"].len(), 10);
    for (name, series) in shown {
        assert!(series.is_sorted_by(|one, next| one < next), "{name}: {series:#?}");
    }
    assert!(
        in_page_order(&full().render()).values().all(|series| series.is_sorted_by(|one, next| one < next))
    );
}

#[test]
fn a_page_of_thousands_of_probes_is_never_held_whole() {
    let plans: Vec<_> = (0..2_000).map(|number| plan(&format!("target-{number}"), "sg")).collect();
    let metrics = Metrics::new(&agent(), WINDOW, &plans);
    let mut all = window(&plans[0]);
    all.probes = plans.iter().flat_map(|plan| window(plan).probes).collect();
    all.paths = plans.iter().flat_map(|plan| window(plan).paths).collect();
    publish(&metrics, &all);
    let mut pieces = Vec::new();
    metrics.write(&mut |piece| {
        assert!(piece.ends_with('\n'));
        assert!(piece.capacity() <= 68 << 10, "{} bytes", piece.capacity());
        pieces.push(piece);
        ControlFlow::Continue(())
    });
    assert!(pieces.len() > 30, "{} pieces", pieces.len());
    assert_eq!(scrape(&metrics).families.len(), Exposition::parse(&pieces.concat()).unwrap().families.len());
    let mut taken = 0;
    metrics.write(&mut |_| {
        taken += 1;
        ControlFlow::Break(())
    });
    assert_eq!(taken, 1, "nobody wants the rest");
}
