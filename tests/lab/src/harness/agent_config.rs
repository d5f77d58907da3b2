//! The configuration files of the two agents.

use crate::fault::format_duration;
use crate::topology::{AgentAddresses, Topology};
use std::path::Path;
use std::time::Duration;

/// How long after its deadline the answer to a probe is still waited for: longer than any fault
/// a demo injects, so that a slow answer reads as slow and not as lost.
const DRAIN: &str = "10s";
/// A probe is late after this.
const DEADLINE: &str = "2s";

/// What both agents have in common.
///
/// `drill` is the file that tells a receiver how much to delay its answers.
fn listeners(name: &str, region: &str, at: &AgentAddresses, drill: Option<&Path>) -> String {
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
