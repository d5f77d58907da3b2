//! From slices to endpoints: ports chosen, conditions judged, and who stands in several slices told once.

use super::answer::{Port, SERVICE_LABEL, Slice, SliceEndpoint};
use crate::collect::discovery::json;
use crate::model::discovery::Endpoint;
use crate::model::discovery::kubernetes::{KubernetesPlan, PortChoice};
use std::collections::BTreeMap;

/// All slices that a watch knows, by namespace and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slices(BTreeMap<(String, String), Slice>);

impl Slices {
    /// A slice that is new, or another one than it was.
    pub fn apply(&mut self, slice: Slice) {
        self.0.insert(key(&slice), slice);
    }

    /// A slice that has gone.
    pub fn delete(&mut self, slice: &Slice) {
        self.0.remove(&key(slice));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The endpoints that a plan counts, each once.
    ///
    /// While the control plane moves an endpoint from one slice to another it may stand in both, and they need not
    /// agree: it is ready if one of them says so.
    pub fn endpoints(&self, plan: &KubernetesPlan) -> Vec<Endpoint> {
        let mut found: BTreeMap<String, (bool, Endpoint)> = BTreeMap::new();
        for slice in self.0.values() {
            let ports = chosen_ports(slice, plan);
            for endpoint in &slice.endpoints {
                let ready = endpoint.conditions.ready();
                let Some(host) = endpoint.addresses.first().filter(|host| !host.is_empty()) else { continue };
                for (port, port_name) in &ports {
                    let made = made(slice, endpoint, host, *port, port_name);
                    let known_ready = found.get(&made.name).is_some_and(|(ready, _)| *ready);
                    if !known_ready {
                        found.insert(made.name.clone(), (ready, made));
                    }
                }
            }
        }
        let counts = |ready: bool| ready || !plan.ready_only;
        found.into_values().filter(|(ready, _)| counts(*ready)).map(|(_, endpoint)| endpoint).collect()
    }
}

fn key(slice: &Slice) -> (String, String) {
    (slice.metadata.namespace.clone(), slice.metadata.name.clone())
}

/// The ports of a slice that a plan asks for, with their names.
fn chosen_ports<'a>(slice: &'a Slice, plan: &KubernetesPlan) -> Vec<(u16, &'a str)> {
    let is_tcp = |port: &&Port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    let numbered = slice.ports.iter().filter(is_tcp).filter_map(|port| {
        let number = u16::try_from(port.port?).ok().filter(|number| *number > 0)?;
        Some((number, port.name.as_str()))
    });
    match &plan.endpoint_port {
        None => numbered.collect(),
        Some(PortChoice::Named(wanted)) => numbered.filter(|(_, name)| name == wanted).collect(),
        Some(PortChoice::Number(wanted)) => {
            let name = numbered.filter(|(number, _)| number == wanted).map(|(_, name)| name).next();
            vec![(*wanted, name.unwrap_or_default())]
        }
    }
}

fn made(slice: &Slice, endpoint: &SliceEndpoint, host: &str, port: u16, port_name: &str) -> Endpoint {
    let namespace = slice.metadata.namespace.as_str();
    let service = slice.metadata.labels.get(SERVICE_LABEL).map(String::as_str);
    let conditions = &endpoint.conditions;
    let pod = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod").map(|pod| pod.name.as_str());
    let flag = |value: bool| if value { "true" } else { "false" };
    let said = [
        ("namespace", namespace),
        ("service", service.unwrap_or_default()),
        ("node", endpoint.node_name.as_str()),
        ("zone", endpoint.zone.as_str()),
        ("pod", pod.unwrap_or_default()),
        ("port_name", port_name),
        ("address_type", slice.address_type.as_str()),
        ("ready", flag(conditions.ready())),
        ("serving", flag(conditions.serving())),
        ("terminating", flag(conditions.terminating())),
    ];
    // What is not known is absent, so that a template's default takes its place.
    let said = said.into_iter().filter(|(_, value)| !value.is_empty());
    let mut meta: BTreeMap<String, String> =
        said.map(|(key, value)| (format!("kubernetes.{key}"), value.to_owned())).collect();
    let labels = slice.metadata.labels.iter();
    meta.extend(labels.map(|(key, value)| (format!("kubernetes.label.{key}"), value.clone())));
    let owner = service.unwrap_or(&slice.metadata.name);
    let name = json::name(&[namespace, owner, host, &port.to_string()]);
    Endpoint { name, host: host.to_owned(), port, meta }
}
