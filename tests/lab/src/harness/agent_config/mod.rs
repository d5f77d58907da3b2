//! The configuration files of the agents.

mod host;
mod kernel;
mod links;
mod reports;

use super::options::LabOptions;
use crate::fault::format_duration;
use crate::namespaces::Places;
use crate::topology::{AgentAddresses, Topology};
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Duration;

/// How long after its deadline the answer to a probe is still waited for: longer than any fault
/// a demo injects, so that a slow answer reads as slow and not as lost.
const DRAIN: &str = "10s";
/// A probe is late after this.
const DEADLINE: &str = "2s";

/// What the agents' configurations are made of.
pub(super) struct Agents<'a> {
    pub options: &'a LabOptions,
    pub at: &'a Topology,
    /// `None` in a run without namespaces.
    pub places: Option<&'a Places>,
    /// The file that tells the receiver how much to delay its answers.
    pub drill: &'a Path,
    /// The file with the token that readers of reports must present.
    pub token: &'a Path,
}

impl Agents<'_> {
    /// The sender in eu: a white-box probe of the receiver in sg and a black-box probe of the
    /// business service, along the same route. The options' extra text is appended as it is.
    pub fn eu(&self) -> Result<String> {
        let (name, at) = ("insight-eu", self.at);
        let probes = [("sg-insight", "insight", "white-box"), ("sg-business", "business", "black-box")]
            .map(|(name, service, mode)| self.path_probe(name, service, mode));
        Ok(format!(
            r#"{}{}{}
[[route]]
name = "eu-sg"
address = "{}"
authority = "sg.insight-lab"
hops = ["mediary-a", "mediary-b", "gateway-b"]
metadata = {{ "x-target-region" = "{{region}}", "x-target-service" = "{{service}}" }}
report_token_file = {:?}
{}{}
{}"#,
            self.listeners(name, "eu", &at.insight_eu),
            self.measured(name, None)?,
            self.nodes("eu"),
            at.mediary_a,
            self.token,
            probes.concat(),
            self.link_probe(name),
            self.options.prober_config_extra,
        ))
    }

    /// The receiver in sg, which also probes the business service beside it: what the service
    /// takes without any path.
    pub fn sg(&self) -> Result<String> {
        let (name, at) = ("insight-sg", self.at);
        Ok(format!(
            r#"{}{}{}
[[probe]]
name = "sg-direct"
target = "sg"
service = "business"
address = "{}"
mode = "black-box"
{}"#,
            self.listeners(name, "sg", &at.insight_sg),
            self.measured(name, None)?,
            self.nodes("sg"),
            at.service_b,
            pace(self.options.probe_interval),
        ))
    }

    /// An agent on a forwarding node: it observes, answers those who ask, and measures the link
    /// to the next hop. `forwarder` is the name of the process that forwards there.
    pub fn node(&self, name: &str, region: &str, forwarder: &str) -> Result<String> {
        let addresses = self.at.agent(name).with_context(|| format!("agent@{name}: no addresses"))?;
        let listeners = self.listeners(name, region, &addresses);
        Ok(format!("{listeners}{}{}", self.measured(name, Some(forwarder))?, self.link_probe(name)))
    }

    /// A probe along the whole path.
    fn path_probe(&self, name: &str, service: &str, mode: &str) -> String {
        format!(
            r#"
[[probe]]
name = "{name}"
target = "sg"
service = "{service}"
route = "eu-sg"
mode = "{mode}"
{}"#,
            pace(self.options.probe_interval)
        )
    }

    /// What all agents have in common.
    fn listeners(&self, name: &str, region: &str, at: &AgentAddresses) -> String {
        // On a network of the lab's own, only the lab reaches it.
        let admin = if at.admin.ip().is_loopback() { "" } else { "insecure = true\n" };
        let drill = match name {
            "insight-sg" => format!("drill_delay_file = {:?}\n", self.drill),
            _ => String::new(),
        };
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
token_file = {:?}
{drill}
[probing]
window = "1s"
"#,
            at.metrics, at.admin, at.grpc, self.token
        )
    }

    /// `[host]`, `[[forwarder]]` and `[kernel]` of the agent of `name`.
    fn measured(&self, name: &str, forwarder: Option<&str>) -> Result<String> {
        let Some(places) = self.places else { return Ok([host::OFF, kernel::OFF].concat()) };
        let place = places.of(name).with_context(|| format!("{name}: no place"))?;
        let kernel = kernel::on(place, &kernel::neighbours(name, self.at));
        Ok(host::on(place, forwarder) + &kernel)
    }

    /// The agents that the one of `region` asks; none where there are none.
    fn nodes(&self, region: &str) -> String {
        if self.options.node_agents { reports::nodes(region, self.at, self.token) } else { String::new() }
    }

    /// The probe of the link behind `name`; empty where the run has none.
    fn link_probe(&self, name: &str) -> String {
        let wanted = self.options.link_probes && self.places.is_some();
        let link = links::of(name, self.at).filter(|_| wanted);
        link.map(|link| link.probe()).unwrap_or_default()
    }
}

/// How often a probe with an RPC is sent, and how long its answer may take.
fn pace(interval: Duration) -> String {
    format!(
        "interval = \"{}\"\ndeadline = \"{DEADLINE}\"\ndrain = \"{DRAIN}\"\nconnections = [\"reused\", \
         \"fresh\"]\n",
        format_duration(interval)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The configurations of insight-eu, insight-sg and a forwarding node's agent.
    fn texts(options: &LabOptions) -> [String; 3] {
        let (at, drill, token) = (Topology::of(77), Path::new("/run/delay"), Path::new("/run/token"));
        let agents = Agents { options, at: &at, places: None, drill, token };
        [agents.eu(), agents.sg(), agents.node("mediary-a", "eu", "nginx")].map(Result::unwrap)
    }

    fn tables(options: &LabOptions) -> [toml::Table; 3] {
        texts(options).map(|text| text.parse().unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    #[test]
    fn all_configurations_are_toml_with_the_addresses_of_the_run() {
        let mut options = LabOptions::new("", "");
        options.prober_config_extra = "[[probe]]\nname = \"extra\"\n".to_owned();
        let [eu, sg, node] = tables(&options);
        assert_eq!(eu["route"][0]["address"].as_str(), Some("127.77.1.20:15080"));
        assert_eq!(eu["route"][0]["metadata"]["x-target-service"].as_str(), Some("{service}"));
        assert_eq!(eu["probe"].as_array().map(Vec::len), Some(3), "two of ours and the extra one");
        assert_eq!(eu["probe"][0]["interval"].as_str(), Some("100ms"));
        assert_eq!(sg["probe"][0]["address"].as_str(), Some("127.77.2.40:50051"));
        assert_eq!(sg["grpc"]["listen"].as_str(), Some("127.77.2.10:19749"));
        assert_eq!(sg["grpc"]["drill_delay_file"].as_str(), Some("/run/delay"));
        assert_eq!(node["grpc"].get("drill_delay_file"), None);
        assert_eq!(node["agent"]["name"].as_str(), Some("mediary-a"));
    }

    #[test]
    fn without_namespaces_no_agent_measures_the_whole_host() {
        for table in tables(&LabOptions::new("", "")) {
            assert_eq!(table["kernel"]["enabled"].as_bool(), Some(false), "{table}");
            assert_eq!(table["host"]["enabled"].as_bool(), Some(false), "{table}");
        }
    }

    #[test]
    fn every_report_needs_the_token_and_nodes_are_asked_where_they_have_agents() {
        let mut options = LabOptions::new("", "");
        let [eu, sg, _] = tables(&options);
        assert!(!eu.contains_key("node") && !sg.contains_key("node"), "{eu} {sg}");
        options.node_agents = true;
        let tables = tables(&options);
        for table in &tables {
            assert_eq!(table["grpc"]["token_file"].as_str(), Some("/run/token"), "{table}");
        }
        let [eu, sg, _] = tables;
        assert_eq!(eu["node"][0]["token_file"].as_str(), Some("/run/token"));
        assert_eq!(eu["route"][0]["report_token_file"].as_str(), Some("/run/token"));
        assert_eq!([&eu, &sg].map(|agent| agent["node"].as_array().map(Vec::len)), [Some(1), Some(2)]);
    }
}
