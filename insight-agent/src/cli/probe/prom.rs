//! What `/metrics` of an agent would show after these samples: for a textfile collector, or to be pushed.

use crate::correlate::nodes::NodeWindows;
use crate::correlate::window::Aggregator;
use crate::model::connection_event::ConnectionEvent;
use crate::model::plan::{Connection, ProbePlan};
use crate::model::sample::ProbeSample;
use crate::model::series::{Section, sections};
use crate::publish::metrics::{AgentLabels, Metrics};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The files of the metric table that speak of probes. What speaks of an agent or of its host is left out.
const KEPT: [&str; 6] = ["path", "probe", "stream", "service", "link", "lost"];

/// What one probe found.
pub(super) struct Shown<'a> {
    pub(super) plan: &'a Arc<ProbePlan>,
    pub(super) samples: Vec<&'a ProbeSample>,
    /// What happened on its connections besides, with how often.
    pub(super) events: &'a [(Connection, ConnectionEvent, u64)],
}

/// The families of these probes as text 0.0.4. The gauges are of one window that holds all samples.
pub(super) fn render(shown: &[Shown<'_>]) -> String {
    let plans: Vec<_> = shown.iter().map(|shown| Arc::clone(shown.plan)).collect();
    let agent = AgentLabels {
        name: "probe".into(),
        region: plans.first().map_or_else(String::new, |plan| plan.source.clone()),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let now = Instant::now();
    // As long as any window is, so that the one below is young enough to be shown.
    let length = Duration::from_secs(300);
    let metrics = Metrics::new(&agent, length, &plans);
    let mut aggregator = Aggregator::new(plans.clone(), now.checked_sub(length).unwrap_or(now));
    for Shown { plan, samples, events } in shown {
        for sample in samples {
            metrics.observe(sample);
            aggregator.record(sample);
        }
        for (connection, event, count) in *events {
            metrics.connection_event(plan, *connection, *event, *count);
        }
    }
    metrics.publish_window(&Arc::new(aggregator.rotate(now, &NodeWindows::default())));
    kept(&metrics.render())
}

/// The families of a page that speak of probes.
fn kept(page: &str) -> String {
    let is_kept = |section: &&Section| KEPT.contains(&section.file);
    let names: Vec<&str> =
        sections().filter(is_kept).flat_map(|section| section.series).map(|series| series.name).collect();
    let mut keeps = false;
    let lines = page.split_inclusive('\n').filter(|line| {
        if let Some(help) = line.strip_prefix("# HELP ") {
            keeps = help.split(' ').next().is_some_and(|name| names.contains(&name));
        }
        keeps
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::ProbePlan;

    #[test]
    fn what_speaks_of_the_agent_is_left_out_and_the_probes_series_are_there() {
        let plan = Arc::new(ProbePlan::example(([127, 0, 0, 1], 1).into()));
        let page = render(&[Shown { plan: &plan, samples: Vec::new(), events: &[] }]);
        assert!(
            page.contains("insight_probe_results_total{") && page.contains("insight_lost_total{"),
            "{page}"
        );
        for absent in ["insight_build_info", "insight_window_seconds", "insight_listener"] {
            assert!(!page.contains(absent), "{page}");
        }
        let (families, helps) = ["# TYPE ", "# HELP "]
            .map(|prefix| page.lines().filter(|line| line.starts_with(prefix)).count())
            .into();
        assert_eq!(families, helps);
    }
}
