//! What Consul answers, read without any I/O.

use crate::collect::discovery::json::{self, ParseError, or_empty};
use crate::model::discovery::Endpoint;
use crate::model::discovery::consul::ConsulPlan;
use http::HeaderMap;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A service of the catalog: its name, and the tags of all of its instances.
pub type Catalog = BTreeMap<String, Vec<String>>;

/// The answer of `/v1/catalog/services`.
///
/// # Errors
/// It is no object of lists of words.
pub fn parse_catalog(body: &[u8]) -> Result<Catalog, ParseError> {
    let read: BTreeMap<String, Option<Vec<String>>> = json::parse(body, "services with their tags")?;
    Ok(read.into_iter().map(|(name, tags)| (name, tags.unwrap_or_default())).collect())
}

/// The answer of `/v1/health/service/NAME`.
///
/// # Errors
/// It is no list of nodes, services and checks.
pub fn parse_health(body: &[u8]) -> Result<Vec<Instance>, ParseError> {
    json::parse(body, "a list of service instances")
}

/// One instance of a service with its node and its checks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Instance {
    node: Node,
    service: Service,
    #[serde(default, deserialize_with = "or_empty")]
    checks: Vec<Check>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    node: String,
    #[serde(default, deserialize_with = "or_empty")]
    address: String,
    #[serde(default, deserialize_with = "or_empty")]
    datacenter: String,
    #[serde(default, deserialize_with = "or_empty")]
    meta: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    service: String,
    #[serde(default, deserialize_with = "or_empty")]
    tags: Vec<String>,
    #[serde(default, deserialize_with = "or_empty")]
    address: String,
    #[serde(default, deserialize_with = "or_empty")]
    meta: BTreeMap<String, String>,
    /// 0 where a service has none. Wider than a port, since Consul checks less than that.
    #[serde(default, deserialize_with = "or_empty")]
    port: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID", default, deserialize_with = "or_empty")]
    id: String,
    #[serde(default, deserialize_with = "or_empty")]
    status: String,
}

/// Ordered by how bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    Passing,
    Warning,
    Critical,
    Maintenance,
}

impl Check {
    fn health(&self) -> Health {
        // An operator's maintenance mode is a critical check of one of these ids.
        if self.id == "_node_maintenance" || self.id.starts_with("_service_maintenance:") {
            return Health::Maintenance;
        }
        match self.status.as_str() {
            "passing" => Health::Passing,
            "warning" => Health::Warning,
            _ => Health::Critical,
        }
    }
}

impl Health {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Maintenance => "maintenance",
        }
    }
}

impl Instance {
    /// The worst of its checks; without any it is as well as Consul knows.
    fn health(&self) -> Health {
        self.checks.iter().map(Check::health).max().unwrap_or(Health::Passing)
    }

    /// As an endpoint. **None**: the plan does not count it, or it has no port or no address.
    fn endpoint(self, plan: &ConsulPlan) -> Option<Endpoint> {
        let health = self.health();
        if plan.passing_only && health != Health::Passing {
            return None;
        }
        let Self { node, service, .. } = self;
        if !plan.tags.iter().all(|tag| service.tags.contains(tag)) {
            return None;
        }
        let port = u16::try_from(service.port).ok().filter(|port| *port > 0)?;
        let host = [service.address, node.address].into_iter().find(|address| !address.is_empty())?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = json::name(&[&service.service, &host, &port.to_string()]);
        let fixed = [
            ("service", service.service),
            ("id", service.id),
            ("node", node.node),
            ("datacenter", node.datacenter),
            ("health", health.as_str().to_owned()),
        ];
        let mut meta: BTreeMap<String, String> =
            fixed.into_iter().map(|(key, value)| (format!("consul.{key}"), value)).collect();
        meta.extend(service.tags.into_iter().map(|tag| (format!("consul.tag.{tag}"), "true".to_owned())));
        meta.extend(service.meta.into_iter().map(|(key, value)| (format!("consul.meta.{key}"), value)));
        meta.extend(node.meta.into_iter().map(|(key, value)| (format!("consul.node_meta.{key}"), value)));
        Some(Endpoint { name, host, port, meta })
    }
}

/// The instances that a plan counts.
pub fn endpoints(instances: Vec<Instance>, plan: &ConsulPlan) -> Vec<Endpoint> {
    instances.into_iter().filter_map(|instance| instance.endpoint(plan)).collect()
}

/// Whether a service of the catalog can have an instance that a plan counts: tags of the catalog are those of all
/// instances together.
pub(super) fn may_match(tags: &[String], plan: &ConsulPlan) -> bool {
    plan.tags.iter().all(|tag| tags.contains(tag))
}

/// What the head of an answer says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// `X-Consul-Index`. **None**: it is missing or no number.
    pub index: Option<u64>,
    /// Whether the answering server knows a leader. A server that does not say does.
    pub known_leader: bool,
    /// How long ago the answering server has heard of the leader.
    pub last_contact: Duration,
    /// Whether the token's policy left something out.
    pub filtered: bool,
}

impl Standing {
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let number = |name: &str| text(name).and_then(|text| text.parse::<u64>().ok());
        Self {
            index: number("x-consul-index"),
            known_leader: text("x-consul-knownleader") != Some("false"),
            last_contact: Duration::from_millis(number("x-consul-lastcontact").unwrap_or(0)),
            filtered: text("x-consul-results-filtered-by-acls") == Some("true"),
        }
    }
}

/// The index to wait behind, after an answer to a query that waited behind `asked` (0: it did not wait).
pub(super) fn next_index(asked: u64, answered: u64) -> u64 {
    if answered < asked {
        // A restored or a new cluster: waiting behind the old index could last until it has caught up.
        return 0;
    }
    // 0 must not be: waiting behind it is no waiting.
    answered.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    pub(in crate::collect::discovery::consul) fn plan() -> ConsulPlan {
        ConsulPlan {
            host: "127.0.0.1".into(),
            port: 8500,
            tls: None,
            token_file: None,
            datacenter: None,
            namespace: None,
            services: vec![],
            tags: vec![],
            passing_only: true,
            wait: Duration::from_secs(300),
            stale: false,
        }
    }

    /// As the API documents it, trimmed.
    const TWO: &str = r#"[
      {"Node": {"ID": "40e4", "Node": "n1", "Address": "10.1.10.12", "Datacenter": "dc1", "Meta": {"rack": "7"}},
       "Service": {"ID": "orders-1", "Service": "orders", "Tags": ["grpc", "v2"], "Address": "10.9.0.1",
                   "Meta": {"zone": "b"}, "Port": 8000, "Weights": {"Passing": 10, "Warning": 1}},
       "Checks": [{"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": "service:orders", "Status": "passing"}]},
      {"Node": {"Node": "n2", "Address": "2001:db8::2", "Datacenter": "dc1", "Meta": null},
       "Service": {"ID": "orders-2", "Service": "orders", "Tags": null, "Address": "", "Meta": null, "Port": 8001},
       "Checks": [{"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": "c", "Status": "warning"}]}]"#;

    fn found(plan: &ConsulPlan) -> Vec<Endpoint> {
        endpoints(parse_health(TWO.as_bytes()).unwrap(), plan)
    }

    #[test]
    fn an_instance_becomes_an_endpoint_with_all_that_is_said_of_it() {
        let found = found(&plan());
        assert_eq!(found.len(), 1, "a warning is not passing");
        let orders = &found[0];
        assert_eq!(
            (orders.name.as_str(), orders.host.as_str(), orders.port),
            ("orders_10.9.0.1_8000", "10.9.0.1", 8000)
        );
        let meta: Vec<_> = orders.meta.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            meta,
            [
                ("consul.datacenter", "dc1"),
                ("consul.health", "passing"),
                ("consul.id", "orders-1"),
                ("consul.meta.zone", "b"),
                ("consul.node", "n1"),
                ("consul.node_meta.rack", "7"),
                ("consul.service", "orders"),
                ("consul.tag.grpc", "true"),
                ("consul.tag.v2", "true"),
            ]
        );
    }

    #[test]
    fn without_an_address_of_its_own_a_service_has_its_nodes() {
        let found = found(&ConsulPlan { passing_only: false, ..plan() });
        assert_eq!(
            (found[1].host.as_str(), found[1].name.as_str()),
            ("2001:db8::2", "orders_2001-db8--2_8001")
        );
        assert_eq!(found[1].meta["consul.health"], "warning");
    }

    #[test]
    fn every_tag_must_be_there() {
        let tags = |tags: &[&str]| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            found(&ConsulPlan { passing_only: false, tags, ..plan() }).len()
        };
        assert_eq!((tags(&["v2", "grpc"]), tags(&["v2", "http"]), tags(&[])), (1, 0, 2));
    }

    #[test]
    fn maintenance_is_worse_than_critical_and_no_check_at_all_is_passing() {
        let check = |id: &str, status: &str| Check { id: id.into(), status: status.into() };
        let mut instance = parse_health(TWO.as_bytes()).unwrap().remove(0);
        instance.checks = vec![check("_service_maintenance:orders-1", "critical"), check("c", "critical")];
        assert_eq!(instance.health(), Health::Maintenance);
        instance.checks = vec![check("c", "unheard of")];
        assert_eq!(instance.health(), Health::Critical);
        instance.checks.clear();
        assert_eq!(instance.health(), Health::Passing);
    }

    #[test]
    fn what_has_no_port_or_no_address_is_no_endpoint() {
        for (port, address) in [("0", "a"), ("70000", "a"), ("-1", "a"), ("null", "a"), ("80", "")] {
            let text = format!(
                r#"[{{"Node": {{"Node": "n"}}, "Service": {{"ID": "i", "Service": "s", "Address": "{address}", "Port": {port}}}}}]"#
            );
            assert_eq!(endpoints(parse_health(text.as_bytes()).unwrap(), &plan()), [], "{text}");
        }
    }

    #[test]
    fn a_catalog_names_services_with_their_tags() {
        let catalog = parse_catalog(br#"{"consul": [], "orders": ["grpc", "v2"], "old": null}"#).unwrap();
        assert_eq!(catalog["orders"], ["grpc", "v2"]);
        let plan = ConsulPlan { tags: vec!["grpc".into()], ..plan() };
        let matching: Vec<_> = catalog.iter().filter(|(_, tags)| may_match(tags, &plan)).collect();
        assert_eq!(matching.len(), 1);
        assert!(parse_catalog(b"[]").is_err());
    }

    #[test]
    fn an_error_says_where_it_is() {
        let error = parse_health(br#"[{"Node": {"Node": 7}}]"#).unwrap_err().to_string();
        assert!(
            error.starts_with("not a list of service instances: ") && error.contains("line 1 column"),
            "{error}"
        );
    }

    #[test]
    fn the_index_grows_or_begins_anew_and_is_never_a_busy_loop() {
        assert_eq!(next_index(0, 7), 7);
        assert_eq!(next_index(7, 7), 7);
        assert_eq!(next_index(7, 9), 9);
        assert_eq!(next_index(9, 7), 0);
        assert_eq!(next_index(0, 0), 1);
        assert_eq!(next_index(1, 0), 0);
    }

    #[test]
    fn the_head_of_an_answer_tells_how_old_it_may_be() {
        let mut headers = HeaderMap::new();
        let nothing = Standing::of(&headers);
        assert_eq!((nothing.index, nothing.known_leader, nothing.filtered), (None, true, false));
        for (name, value) in [
            ("x-consul-index", "42"),
            ("x-consul-knownleader", "false"),
            ("x-consul-lastcontact", "1500"),
            ("x-consul-results-filtered-by-acls", "true"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let last_contact = Duration::from_millis(1500);
        let expected = Standing { index: Some(42), known_leader: false, last_contact, filtered: true };
        assert_eq!(Standing::of(&headers), expected);
    }
}
