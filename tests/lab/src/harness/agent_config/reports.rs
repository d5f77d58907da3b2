//! Whose reports an agent fetches: those of the forwarding nodes of its own region.

use crate::harness::specs::NODE_AGENTS;
use crate::topology::Topology;
use std::path::Path;

/// A `[[node]]` for each forwarding node of `region`, whose agents ask for `token`.
pub(super) fn nodes(region: &str, at: &Topology, token: &Path) -> String {
    let beside = NODE_AGENTS.iter().filter(|(_, _, its_region)| *its_region == region);
    let addresses = beside.filter_map(|(_, node, _)| Some((node, at.agent(node)?.grpc)));
    addresses
        .map(|(node, address)| {
            format!("\n[[node]]\nname = \"{node}\"\naddress = \"{address}\"\ntoken_file = {token:?}\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_asks_its_own_nodes() {
        let names = |region: &str| -> Vec<String> {
            let table: toml::Table = nodes(region, &Topology::of(77), Path::new("/t")).parse().unwrap();
            let nodes = table["node"].as_array().unwrap().iter();
            nodes.map(|node| format!("{} {}", node["name"], node["address"])).collect()
        };
        assert_eq!(names("eu"), [r#""mediary-a" "127.77.1.20:19750""#]);
        assert_eq!(names("sg"), [r#""gateway-b" "127.77.2.30:19750""#, r#""mediary-b" "127.77.2.20:19750""#]);
    }
}
