//! Discovery: who comes and who goes, from real files, real name servers and doubles of registries to `/metrics`.
#![allow(clippy::unwrap_used, reason = "in a test, a panic that shows the error is the answer")]

mod cli;
mod dns;
mod files;
mod many;
mod registries;

use insight_e2e::agent::{Agent, Config};
use insight_e2e::exposition::Exposition;
use insight_e2e::wait::{PATIENCE, wait_until};
use std::collections::BTreeMap;

const PORT: u16 = 8443;

/// A discovery `d` of this kind, and a template of quick black-box probes with these further lines.
fn config(source: &str, template: &str) -> Config {
    Config::new().tables(&format!(
        "[[discovery]]\nname = \"d\"\n{source}\n[[probe]]\ndiscovery = \"d\"\ntarget = \"far\"\nmode = \"black-box\"\n\
         interval = \"50ms\"\ndeadline = \"500ms\"\ndrain = \"500ms\"\nconnections = [\"reused\"]\n{template}"
    ))
}

/// Good samples by probe.
fn good(seen: &Exposition) -> BTreeMap<String, f64> {
    let samples = seen.samples("insight_probe_results_total", &[("status", "OK")]);
    samples.map(|sample| (sample.labels["probe"].clone(), sample.value)).collect()
}

/// Waits until exactly these are probed with success.
fn wait_for_probes(agent: &Agent, expected: &[&str]) {
    wait_until(&format!("the probes {expected:?}"), PATIENCE, || {
        let now = good(&agent.scrape());
        let is_so = now.keys().eq(expected) && now.values().all(|count| *count > 0.0);
        if is_so { Ok(()) } else { Err(format!("{now:?}; {}", agent.log())) }
    });
}

fn of_d(agent: &Agent, family: &str) -> Option<f64> {
    agent.scrape().value(family, &[("discovery", "d")])
}

/// Waits until the source of `d` knows who is there, or does not.
fn wait_for_up(agent: &Agent, expected: f64) {
    agent.wait_for(&format!("insight_discovery_up {expected}"), |seen| {
        (seen.value("insight_discovery_up", &[("discovery", "d")])? == expected).then_some(())
    });
}

/// What the status says of `d`.
fn status(agent: &Agent) -> serde_json::Value {
    agent.status()["discovery"][0].clone()
}
