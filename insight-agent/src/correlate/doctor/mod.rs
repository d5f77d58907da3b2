//! What the facts of a machine mean: one check per fact, each with what to do about it.
//!
//! One rule decides over *failing*: something that the configuration asks for does not run. What is
//! merely lost or at risk is a warning. No measurement and no hook is known by name here: what runs on
//! a hook is in the facts.

mod kernel;
mod measurements;
mod memory;
mod neighbours;
mod privileges;
#[cfg(test)]
mod tests;

use crate::model::doctor::{Check, Facts, MeasurementFact};

/// What the configuration asks for, as far as the facts do not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// There is a configuration: else these are the defaults, and nothing of the host is asked for.
    pub configured: bool,
    /// `[kernel] enabled`.
    pub kernel: bool,
    /// `[host] enabled` and `node_metrics`.
    pub node_metrics: bool,
    /// `[kernel] scope_namespaces` is not empty.
    pub scope_by_namespace: bool,
    /// What to do about a second exporter of `node_*`.
    pub duplicate_advice: &'static str,
}

/// All checks, in the order in which they are printed.
pub fn diagnose(facts: &Facts, asked: &Asked) -> Vec<Check> {
    let mut checks = kernel::checks(facts, asked);
    checks.extend(privileges::checks(facts, asked));
    checks.extend(measurements::hooks(facts, asked));
    checks.extend(measurements::members(facts));
    checks.extend(measurements::attachments(facts));
    checks.extend(measurements::states(facts, asked));
    checks.extend(memory::checks(facts));
    checks.extend(neighbours::forwarders(facts, asked));
    checks.extend(neighbours::listeners(facts, asked));
    checks.extend(neighbours::others(facts, asked));
    checks
}

/// Whether a measurement that is asked for does not run.
fn is_missing(fact: &MeasurementFact) -> bool {
    fact.asked_for && fact.state != "active" && fact.reason != NO_FORWARDER
}

/// The reason of a measurement that has nobody to measure, which is no fault of this machine.
const NO_FORWARDER: &str = "no_forwarder";

/// The names of measurements that are attached to a cgroup, and not to a tracepoint.
fn on_cgroups(facts: &Facts) -> Vec<&str> {
    let hooks = facts.kernel.hooks.iter().filter(|hook| hook.tracepoint.is_none());
    hooks.flat_map(|hook| &hook.measurements).map(String::as_str).collect()
}

/// Whether one of these measurements is asked for.
fn any_asked(facts: &Facts, names: &[&str]) -> bool {
    facts.kernel.measurements.iter().any(|fact| fact.asked_for && names.contains(&fact.name.as_str()))
}

/// Bytes for people: KiB below one MiB.
fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0)),
    }
}
