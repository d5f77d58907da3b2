//! The link probes: each node's agent measures the link to the next hop of the path.

use crate::topology::Topology;
use std::net::SocketAddr;

/// How often a link is measured: five handshakes and five PINGs a second fill a window of one,
/// and are nothing beside the traffic.
const INTERVAL: &str = "200ms";
/// A link probe is late after this: well above every WAN delay that a fault injects.
const DEADLINE: &str = "2s";

/// The link behind a node.
#[derive(Debug)]
pub(super) struct Link {
    /// The node at the other end.
    to: &'static str,
    /// Its region.
    region: &'static str,
    address: SocketAddr,
}

/// The next hop of the path behind `node`. `None` where the path ends, and for nodes beside it.
pub(super) fn of(node: &str, at: &Topology) -> Option<Link> {
    let (to, region, address) = match node {
        "insight-eu" => ("mediary-a", "eu", at.mediary_a),
        "mediary-a" => ("mediary-b", "sg", at.wan),
        "mediary-b" => ("gateway-b", "sg", at.gateway_b),
        // By the receiver's own name: agents refuse a probe to "service", the ledger's last entry.
        "gateway-b" => ("insight-sg", "sg", at.insight_sg.grpc),
        _ => return None,
    };
    Some(Link { to, region, address })
}

impl Link {
    /// The `[[probe]]`. The near end is the agent's own name: also the route's origin.
    pub fn probe(&self) -> String {
        let Link { to, region, address } = self;
        format!(
            r#"
[[probe]]
name = "link-{to}"
target = "{region}"
mode = "link"
to = "{to}"
address = "{address}"
interval = "{INTERVAL}"
deadline = "{DEADLINE}"
"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_follow_each_other_from_the_sender_to_the_service() {
        let (at, mut node, mut passed) = (Topology::of(77), "insight-eu", Vec::new());
        while let Some(link) = of(node, &at) {
            let table: toml::Table = link.probe().parse().unwrap();
            assert_eq!(table["probe"][0]["to"].as_str(), Some(link.to));
            passed.push(link.to);
            node = link.to;
        }
        assert_eq!(passed, ["mediary-a", "mediary-b", "gateway-b", "insight-sg"]);
    }
}
