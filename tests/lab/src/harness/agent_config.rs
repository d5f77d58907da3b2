//! The configuration files of the agents.

use crate::fault::format_duration;
use crate::topology::{AgentAddresses, Topology};
use std::path::Path;
use std::time::Duration;

/// How long after its deadline the answer to a probe is still waited for: longer than any fault
/// a demo injects, so that a slow answer reads as slow and not as lost.
const DRAIN: &str = "10s";
/// A probe is late after this.
const DEADLINE: &str = "2s";

/// What all agents have in common.
///
/// `drill` is the file that tells a receiver how much to delay its answers.
fn listeners(name: &str, region: &str, at: &AgentAddresses, drill: Option<&Path>) -> String {
    // On a network of the lab's own, only the lab reaches it.
    let admin = if at.admin.ip().is_loopback() { "" } else { "insecure = true\n" };
    let drill = drill.map(|file| format!("drill_delay_file = {file:?}\n")).unwrap_or_default();
    format!(
        r#"[agent]
name = "{name}"
region = "{region}"
log = "info"

[metrics]
listen = "{}"

[admin]
listen = "{}"
{admin}
[grpc]
listen = "{}"
{drill}
[probing]
window = "1s"
"#,
        at.metrics, at.admin, at.grpc
    )
}

/// The sender in eu: a white-box probe of the receiver in sg and a black-box probe of the
/// business service, along the same route. `extra` is appended as it is.
pub(super) fn eu(topology: &Topology, interval: Duration, extra: &str) -> String {
    let probe = |name: &str, service: &str, mode: &str| {
        format!(
            r#"
[[probe]]
name = "{name}"
target = "sg"
service = "{service}"
route = "eu-sg"
mode = "{mode}"
interval = "{}"
deadline = "{DEADLINE}"
drain = "{DRAIN}"
connections = ["reused", "fresh"]
"#,
            format_duration(interval)
        )
    };
    format!(
        r#"{}
[[route]]
name = "eu-sg"
address = "{}"
authority = "sg.insight-lab"
hops = ["mediary-a", "mediary-b", "gateway-b"]
metadata = {{ "x-target-region" = "{{region}}", "x-target-service" = "{{service}}" }}
{}{}
{extra}"#,
        listeners("insight-eu", "eu", &topology.insight_eu, None),
        topology.mediary_a,
        probe("sg-insight", "insight", "white-box"),
        probe("sg-business", "business", "black-box"),
    )
}

/// The receiver in sg, which also probes the business service beside it: what the service
/// takes without any path.
pub(super) fn sg(topology: &Topology, interval: Duration, drill: &Path) -> String {
    format!(
        r#"{}
[[probe]]
name = "sg-direct"
target = "sg"
service = "business"
address = "{}"
mode = "black-box"
interval = "{}"
deadline = "{DEADLINE}"
drain = "{DRAIN}"
connections = ["reused", "fresh"]
"#,
        listeners("insight-sg", "sg", &topology.insight_sg, Some(drill)),
        topology.service_b,
        format_duration(interval),
    )
}

/// An agent on a forwarding node: it only observes, and answers those who ask.
pub(super) fn node(name: &str, region: &str, at: &AgentAddresses) -> String {
    listeners(name, region, at, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_configurations_are_toml_with_the_addresses_of_the_run() {
        let at = Topology::of(77);
        let extra = "[[probe]]\nname = \"extra\"\n";
        let eu: toml::Table = eu(&at, Duration::from_millis(100), extra).parse().unwrap();
        let sg: toml::Table = sg(&at, Duration::from_millis(100), Path::new("/run/delay")).parse().unwrap();
        assert_eq!(eu["route"][0]["address"].as_str(), Some("127.77.1.20:15080"));
        assert_eq!(eu["route"][0]["metadata"]["x-target-service"].as_str(), Some("{service}"));
        assert_eq!(eu["probe"].as_array().map(Vec::len), Some(3), "two of ours and the extra one");
        assert_eq!(eu["probe"][0]["interval"].as_str(), Some("100ms"));
        assert_eq!(sg["probe"][0]["address"].as_str(), Some("127.77.2.40:50051"));
        assert_eq!(sg["grpc"]["listen"].as_str(), Some("127.77.2.10:19749"));
        assert_eq!(sg["grpc"]["drill_delay_file"].as_str(), Some("/run/delay"));
    }
}
