//! `insight-agent probe`, asked about the same target.

use super::situations::{Situation, Transport};
use super::{Truth, is_near, with_resolver};
use anyhow::{Context, Result};
use insight_e2e::agent::Site;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// What it said of a target.
#[derive(Debug, Clone, Serialize)]
pub struct Said {
    /// Whether every sample was good.
    pub success: bool,
    /// Median latency on the reused connection. **None**: no good answer.
    pub latency_seconds: Option<f64>,
    /// What the first sample, on a connection of its own, took from its begin to its end.
    pub took_seconds: Option<f64>,
    /// That sample's phases.
    pub phases: Vec<(String, f64)>,
    /// Failure class, phase and status of that sample. **None**: it was good.
    pub failure: Option<[String; 3]>,
    /// Whether that is so, by class and time.
    pub right: bool,
}

/// Probes it so often.
///
/// # Errors
/// The program does not run, or writes no JSON.
pub fn probe(
    agent: &Path,
    site: &Site,
    resolver: &Path,
    situation: &Situation,
    samples: u32,
) -> Result<Said> {
    let mut command = with_resolver(resolver, agent);
    command.args(["probe", &situation.target, "--mode", "black-box", "--output", "json"]);
    command.args(["--interval", "5ms", "--deadline", "2s", "--drain", "0s"]);
    command.args(["--count", &samples.to_string()]);
    if let Transport::Tls(ca, name) = situation.transport {
        command.args(["--server-name", name, "--ca-file"]).arg(site.path(ca));
    }
    let output = command.output().context("run insight-agent probe")?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("insight-agent probe: {}", String::from_utf8_lossy(&output.stderr)))?;
    read(&answer, situation.truth)
}

fn read(answer: &Value, truth: Truth) -> Result<Said> {
    let all = answer["samples"].as_array().context("no samples in its JSON")?;
    let fresh = all.first().context("no sample")?;
    let success = all.iter().all(|sample| sample["outcome"] != "failed");
    let reused = all.iter().filter(|sample| sample["connection"] == "reused" && sample["outcome"] == "ok");
    let mut latencies: Vec<_> = reused.filter_map(|sample| sample["total_seconds"].as_f64()).collect();
    latencies.sort_by(f64::total_cmp);
    let latency_seconds = latencies.get(latencies.len() / 2).copied();
    let word = |key: &str| fresh[key].as_str().unwrap_or_default().to_owned();
    let failure = (fresh["outcome"] == "failed")
        .then(|| [word("failure_class"), word("failure_phase"), word("status")]);
    let phases = fresh["phases"].as_object().into_iter().flatten();
    let phases: Vec<_> = phases
        .filter_map(|(name, value)| Some((name.trim_end_matches("_seconds").to_owned(), value.as_f64()?)))
        .collect();
    let right = match truth {
        Truth::Good(delay) => success && latency_seconds.is_some_and(|latency| is_near(latency, delay)),
        Truth::SlowName(delay) => {
            let dns = phases.iter().find(|(name, _)| name == "dns");
            success && dns.is_some_and(|(_, seconds)| is_near(*seconds, delay))
        }
        Truth::Bad(classes) => {
            let class = |sample: &Value| {
                sample["failure_class"].as_str().is_some_and(|class| classes.contains(&class))
            };
            !success && all.iter().all(class)
        }
    };
    Ok(Said {
        success,
        latency_seconds,
        took_seconds: fresh["took_seconds"].as_f64(),
        phases,
        failure,
        right,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn latency_is_of_good_reused_samples_and_a_class_must_be_the_cause() {
        let ok = |connection: &str, total: f64| json!({"connection": connection, "outcome": "ok", "total_seconds": total, "phases": {}});
        let good = json!({"samples": [ok("fresh", 3.0), ok("reused", 0.0105)]});
        let truth = Truth::Good(Duration::from_millis(10));
        assert!(read(&good, truth).unwrap().right);
        assert!(!read(&good, Truth::Good(Duration::from_millis(100))).unwrap().right);
        let failed =
            json!({"samples": [{"connection": "fresh", "outcome": "failed", "failure_class": "reset"}]});
        assert!(read(&failed, Truth::Bad(&["reset"])).unwrap().right);
        assert!(!read(&failed, Truth::Bad(&["goaway"])).unwrap().right);
        assert!(!read(&failed, truth).unwrap().right);
    }
}
