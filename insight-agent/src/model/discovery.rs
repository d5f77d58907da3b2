//! What a discovery source tells: who is there now, or why nobody knows.

pub mod consul;
pub mod kubernetes;
pub mod plan;
pub mod state;

pub use plan::{DiscoveryPlan, DnsPlan, DnsRecord, FilePlan, SourcePlan};
pub use state::{DiscoveryState, DropCount, DropReason};

use std::collections::BTreeMap;

/// Most endpoints of one source that are kept. Beyond it is a filter that is missing, not a fleet that one
/// agent probes.
pub const ENDPOINTS_MOST: usize = 10_000;

/// One address that a source tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Unique within its source, and the same for as long as the endpoint is the same one.
    pub name: String,
    /// Name or IP address, IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What the source says of it, by names of the source's own such as `consul.service`. Filters and
    /// templates read it.
    pub meta: BTreeMap<String, String>,
}

/// What a source brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Everyone who is there: whoever is missing has gone.
    Roster(Vec<Endpoint>),
    /// The roster that was told last has been looked up again and is the same.
    Unchanged,
    /// Nobody knows at present; what was known before still counts.
    Failed(LookupFailure),
}

impl Endpoint {
    /// Host and port, IPv6 in brackets.
    pub fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Why a source brought no roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupFailure {
    /// The kind.
    pub class: LookupClass,
    /// What was attempted, where, and what was found; never a secret.
    pub detail: String,
}

/// Kinds of failures: the closed set of a `class` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LookupClass {
    /// No connection, or none that is trusted.
    Unreachable,
    /// No answer, or no whole one, in time.
    Timeout,
    /// The answer is that this agent may not know.
    Denied,
    /// Any other answer that says no.
    Refused,
    /// An answer that is not what the protocol says.
    Malformed,
    /// More than [`ENDPOINTS_MOST`].
    TooMany,
}

impl LookupClass {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Unreachable, Self::Timeout, Self::Denied, Self::Refused, Self::Malformed, Self::TooMany];

    /// Their names.
    pub const NAMES: [&'static str; 6] =
        ["unreachable", "timeout", "denied", "refused", "malformed", "too_many"];

    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl Found {
    /// A roster in the order of its names, each once (the last one counts); or the failure that it is too
    /// long.
    pub fn roster(endpoints: Vec<Endpoint>) -> Self {
        if endpoints.len() > ENDPOINTS_MOST {
            let detail = format!("{} endpoints, {ENDPOINTS_MOST} are kept at most", endpoints.len());
            return Self::Failed(LookupFailure { class: LookupClass::TooMany, detail });
        }
        let by_name: BTreeMap<_, _> =
            endpoints.into_iter().map(|endpoint| (endpoint.name.clone(), endpoint)).collect();
        Self::Roster(by_name.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, port: u16) -> Endpoint {
        Endpoint { name: name.into(), host: "h".into(), port, meta: BTreeMap::new() }
    }

    #[test]
    fn a_roster_is_in_order_and_names_each_endpoint_once() {
        let found = Found::roster(vec![endpoint("b", 1), endpoint("a", 2), endpoint("b", 3)]);
        assert_eq!(found, Found::Roster(vec![endpoint("a", 2), endpoint("b", 3)]));
    }

    #[test]
    fn a_roster_that_is_too_long_is_a_failure_and_not_cut() {
        let many = (0..=ENDPOINTS_MOST).map(|index| endpoint(&index.to_string(), 1)).collect();
        let Found::Failed(failure) = Found::roster(many) else { panic!("kept") };
        assert_eq!(failure.class, LookupClass::TooMany);
    }
}
