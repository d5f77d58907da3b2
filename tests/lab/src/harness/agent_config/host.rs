//! What each agent reads of its host, and which process it takes for its node's forwarder.

use crate::namespaces::NodePlace;

/// On loopback all nodes share one host and one process list: each agent would show the same.
pub(super) const OFF: &str = "\n[host]\nenabled = false\n";

/// `[host]` and `[[forwarder]]` of an agent in its place. `forwarder` is the name of the process that
/// forwards there. Several nodes may have one of that name on this machine; the node's control group
/// tells them apart.
pub(super) fn on(place: &NodePlace, forwarder: Option<&str>) -> String {
    let mut text = "\n[host]\nperiod = \"1s\"\n".to_owned();
    if let Some(name) = forwarder {
        let group = &place.cpu_cgroup;
        text += &format!("\n[[forwarder]]\nname = {name:?}\nprocess = {name:?}\ncgroup = {group:?}\n");
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::harness::agent_config) fn place() -> NodePlace {
        NodePlace {
            netns: "n".into(),
            netns_path: "/run/netns/n".into(),
            netns_inum: 1,
            cgroup2: "/c".into(),
            cpu_cgroup: "/c".into(),
            cpus: vec![0],
        }
    }

    #[test]
    fn a_forwarder_is_told_apart_by_its_control_group() {
        let table: toml::Table = on(&place(), Some("nginx")).parse().unwrap();
        let forwarder = &table["forwarder"][0];
        assert_eq!(forwarder["process"].as_str(), Some("nginx"));
        assert_eq!(forwarder["cgroup"].as_str(), Some("/c"));
    }

    #[test]
    fn an_agent_beside_no_forwarder_watches_no_process() {
        let table: toml::Table = on(&place(), None).parse().unwrap();
        assert!(!table.contains_key("forwarder"), "{table}");
    }
}
