//! What streams and health watches show, and when they show nothing.

use super::*;
use crate::model::health::{HealthEvent, ServingState};
use crate::model::plan::{Call, MethodCall};

fn watching(name: &str) -> Arc<ProbePlan> {
    let call = Call::HealthWatch { service: String::new() };
    Arc::new(ProbePlan { call, ..(*plan(name, "sg")).clone() })
}

fn broken() -> HealthEvent {
    match failed() {
        Outcome::Failed(failure) => HealthEvent::Broken(failure),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_health_state_is_shown_while_somebody_tells_it() {
    let plan = watching("w");
    let metrics = Metrics::new(&agent(), WINDOW, std::slice::from_ref(&plan));
    let of = [("probe", "w")];
    let serving = |metrics: &Metrics| scrape(metrics).value("insight_probe_health_serving", &of);
    assert_eq!(serving(&metrics), None);
    metrics.health(&plan, &HealthEvent::Told(ServingState::Serving));
    assert_eq!(serving(&metrics), Some(1.0));
    assert!(scrape(&metrics).value("insight_probe_health_age_seconds", &of).unwrap() < 60.0);
    metrics.health(&plan, &broken());
    assert_eq!(serving(&metrics), None);
    metrics.health(&plan, &HealthEvent::Told(ServingState::Serving));
    metrics.health(&plan, &HealthEvent::Told(ServingState::NotServing));
    assert_eq!(serving(&metrics), Some(0.0));
    let shown = scrape(&metrics);
    // The same state behind a break is no change.
    assert_eq!(shown.value("insight_probe_health_changes_total", &of), Some(1.0));
    let reason = [of[0], ("reason", "refused")];
    assert_eq!(shown.value("insight_probe_health_breaks_total", &reason), Some(1.0));

    metrics.set_plans(&[watching("w")]);
    let shown = scrape(&metrics);
    assert_eq!(serving(&metrics), None, "nobody has told the new one anything");
    assert_eq!(shown.value("insight_probe_health_changes_total", &of), Some(1.0), "its series go on");
    metrics.set_plans(&[]);
    assert_eq!(scrape(&metrics).value("insight_probe_health_changes_total", &of), None);
}

#[test]
fn streams_are_summed_up_and_failed_ones_only_counted() {
    let call = MethodCall {
        method: "/a.B/C".to_owned(),
        request_json: "{}".to_owned(),
        descriptors: None,
        max_messages: 10,
    };
    let plan = Arc::new(ProbePlan { call: Call::Method(call), ..(*plan("s", "sg")).clone() });
    let metrics = Metrics::new(&agent(), WINDOW, std::slice::from_ref(&plan));
    metrics.observe(&streamed(&plan, Duration::from_millis(40)));
    metrics.observe(&streamed(&plan, Duration::from_millis(60)));
    metrics.observe(&ProbeSample { outcome: failed(), ..streamed(&plan, Duration::from_secs(9)) });
    metrics.set_plans(std::slice::from_ref(&plan));
    let shown = scrape(&metrics);
    let of = [("probe", "s"), ("connection", "reused")];
    assert_eq!(shown.value("insight_probe_stream_messages_total", &of), Some(9.0));
    let gap = |what: &str| shown.value(&format!("insight_probe_stream_largest_gap_seconds_{what}"), &of);
    assert_eq!((gap("sum"), gap("count")), (Some(0.1), Some(2.0)));
    metrics.set_plans(&[]);
    assert_eq!(scrape(&metrics).value("insight_probe_stream_messages_total", &of), None);
}

#[test]
fn an_expected_status_counts_as_that_status() {
    let plan = plan("e", "sg");
    let metrics = Metrics::new(&agent(), WINDOW, std::slice::from_ref(&plan));
    let answer = Answer { status: GrpcStatus::NotFound, ..Answer::default() };
    metrics.observe(&ProbeSample { answer, ..sample(&plan, Outcome::Ok) });
    let of = [("probe", "e"), ("connection", "reused"), ("status", "NOT_FOUND")];
    let shown = scrape(&metrics);
    assert_eq!(shown.value("insight_probe_results_total", &of), Some(1.0));
    assert_eq!(shown.value("insight_probe_failures_total", &of[..1]), None);
}
