//! What each agent measures in the kernel: its own node, and whom it tells apart there.

use crate::namespaces::{NodePlace, near_end_of_wan};
use crate::topology::Topology;
use std::net::{IpAddr, SocketAddr};

/// Without namespaces nothing tells the nodes' sockets apart, and each agent would measure the
/// whole host.
pub(super) const OFF: &str = "\n[kernel]\nenabled = false\n";

/// A neighbour of a node, under its name in the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    name: &'static str,
    address: IpAddr,
    /// The service's: its own where this node connects, this node's where it accepts. So what
    /// others ask of the node's agent is in no group.
    port: u16,
}

/// Whom the agent of `node` tells apart; the services of both regions by the names of the ledger.
pub(super) fn neighbours(node: &str, at: &Topology) -> Vec<Neighbour> {
    // Whom this node connects to, and who connects to its own listener.
    let upstream = |name, to: SocketAddr| Neighbour { name, address: to.ip(), port: to.port() };
    let downstream =
        |name, address: IpAddr, listener: SocketAddr| Neighbour { name, address, port: listener.port() };
    match node {
        "insight-eu" => vec![upstream("mediary-a", at.mediary_a)],
        "mediary-a" => vec![
            downstream("insight-eu", at.insight_eu.grpc.ip(), at.mediary_a),
            downstream("load", at.load_control.ip(), at.mediary_a),
            upstream("mediary-b", at.wan),
        ],
        "mediary-b" => vec![
            downstream("mediary-a", near_end_of_wan(at.subnet).into(), at.mediary_b),
            upstream("gateway-b", at.gateway_b),
        ],
        "gateway-b" => vec![
            // In its region mediary-b has the address of its agent.
            downstream("mediary-b", at.mediary_b_agent.grpc.ip(), at.gateway_b),
            upstream("service", at.insight_sg.grpc),
            upstream("service-b", at.service_b),
            upstream("slow-b", at.slow_b),
        ],
        "insight-sg" => vec![downstream("gateway-b", at.gateway_b.ip(), at.insight_sg.grpc)],
        _ => Vec::new(),
    }
}

/// `[kernel]` of an agent that measures the sockets of its place only.
pub(super) fn on(place: &NodePlace, neighbours: &[Neighbour]) -> String {
    let mut text = format!("\n[kernel]\nenabled = true\nscope_namespaces = [{:?}]\n", place.netns_path);
    for Neighbour { name, address, port } in neighbours {
        text += &format!(
            "\n[[kernel.peer]]\nname = \"{name}\"\nnetworks = [\"{address}\"]\nports = [\"{port}\"]\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::agent_config::host::tests::place;
    use crate::namespaces::topology_apart;

    #[test]
    fn both_mediaries_know_each_other_by_their_ends_of_the_wan() {
        let at = topology_apart(&Topology::of(77));
        let text = on(&place(), &neighbours("mediary-a", &at));
        let table: toml::Table = text.parse().unwrap();
        let kernel = &table["kernel"];
        assert_eq!(kernel["scope_namespaces"][0].as_str(), Some("/run/netns/n"));
        assert_eq!(kernel["peer"][2]["name"].as_str(), Some("mediary-b"));
        assert_eq!(kernel["peer"][2]["networks"][0].as_str(), Some("198.19.77.130"));
        assert_eq!(kernel["peer"][2]["ports"][0].as_str(), Some("15080"));
        assert_eq!(neighbours("mediary-b", &at)[0].address.to_string(), "198.19.77.129");
        let at_receiver: toml::Table = on(&place(), &neighbours("insight-sg", &at)).parse().unwrap();
        assert_eq!(at_receiver["kernel"]["peer"][0]["ports"][0].as_str(), Some("19749"));
        assert_eq!(neighbours("gateway-b", &at)[0].address.to_string(), "198.19.77.84");
    }

    #[test]
    fn what_is_asked_of_an_agent_is_in_no_group() {
        let at = topology_apart(&Topology::of(77));
        for node in ["mediary-a", "mediary-b", "gateway-b"] {
            let agent = at.agent(node).unwrap();
            for neighbour in neighbours(node, &at) {
                assert_ne!(neighbour.port, agent.grpc.port(), "{node}: {neighbour:?}");
            }
        }
    }
}
