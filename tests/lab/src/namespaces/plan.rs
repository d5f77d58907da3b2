//! Who is where: the nodes of the root lab, their regions and addresses.
//!
//! Two /24 of the block for benchmarks (198.18.0.0/15), which no host routes, per run S:
//!
//! | network | what |
//! |---|---|
//! | 198.18.S.0/24 | management: one /30 per node, from the harness to that node only |
//! | 198.19.S.0/26 | region eu |
//! | 198.19.S.64/26 | region sg |
//! | 198.19.S.128/30 | the WAN: mediary-a .129, mediary-b .130 |
//! | 198.19.S.133 | the relay that is the WAN (its control port only) |

use crate::topology::{AgentAddresses, CONTROL_PORT, Topology};
use std::net::{Ipv4Addr, SocketAddr};

/// On which side of the WAN a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Region {
    /// Where probes start.
    Eu,
    /// Where they are answered.
    Sg,
    /// Neither: the relay.
    Between,
}

impl Region {
    /// The name of the region's switch; `None` where there is none.
    pub const fn switch(self) -> Option<&'static str> {
        match self {
            Region::Eu => Some("switch-eu"),
            Region::Sg => Some("switch-sg"),
            Region::Between => None,
        }
    }
}

/// One node's seat.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    /// The node's name in the run.
    pub node: &'static str,
    pub region: Region,
    /// Last octet of its address in 198.19.S.0/24.
    pub host: u8,
    /// Last octet of its end of the WAN, if it has one, and of the other end.
    pub wan: Option<(u8, u8)>,
    /// Which /30 of the management network is its own.
    pub index: u8,
}

/// Last octets of the WAN's two ends: mediary-a's and mediary-b's.
const WAN_ENDS: (u8, u8) = (129, 130);

/// Every node. One that a run does not start keeps an empty seat: namespaces are cheap.
pub(super) const SEATS: [Seat; 9] = [
    seat(0, "insight-eu", Region::Eu, 10),
    Seat { wan: Some(WAN_ENDS), ..seat(1, "mediary-a", Region::Eu, 20) },
    seat(2, "load", Region::Eu, 30),
    seat(3, "wan", Region::Between, 133),
    Seat { wan: Some((WAN_ENDS.1, WAN_ENDS.0)), ..seat(4, "mediary-b", Region::Sg, 84) },
    seat(5, "gateway-b", Region::Sg, 94),
    seat(6, "service-b", Region::Sg, 104),
    seat(7, "slow-b", Region::Sg, 105),
    seat(8, "insight-sg", Region::Sg, 74),
];

const fn seat(index: u8, node: &'static str, region: Region, host: u8) -> Seat {
    Seat { node, region, host, wan: None, index }
}

impl Seat {
    /// The node's address in its region.
    pub fn address(&self, subnet: u8) -> Ipv4Addr {
        traffic(subnet, self.host)
    }

    /// The two ends of the management link: the harness's and the node's.
    pub fn management(&self, subnet: u8) -> [Ipv4Addr; 2] {
        [1, 2].map(|end| Ipv4Addr::new(198, 18, subnet, 4 * self.index + end))
    }

    /// Every address at which the harness reaches the node.
    pub fn reachable(&self, subnet: u8) -> impl Iterator<Item = Ipv4Addr> {
        let wan = self.wan.map(|(own, _)| traffic(subnet, own));
        [self.address(subnet)].into_iter().chain(wan)
    }
}

/// An address of the regions and the WAN.
pub(super) const fn traffic(subnet: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 19, subnet, host)
}

/// Mediary-a's end of the WAN: the address from which mediary-b is called.
pub(crate) const fn near_end_of_wan(subnet: u8) -> Ipv4Addr {
    traffic(subnet, WAN_ENDS.0)
}

/// Where everything of a run listens when its nodes stand apart. The claim stays what it was.
pub(crate) fn apart(claimed: &Topology) -> Topology {
    let address = |node: &str| -> Ipv4Addr {
        let seat = SEATS.iter().find(|seat| seat.node == node);
        seat.expect("only names of SEATS are asked for").address(claimed.subnet)
    };
    let moved = |node: &str, at: SocketAddr| SocketAddr::new(address(node).into(), at.port());
    let agent = |node: &str, at: &AgentAddresses| AgentAddresses {
        metrics: moved(node, at.metrics),
        admin: moved(node, at.admin),
        grpc: moved(node, at.grpc),
    };
    // Only mediary-a calls mediary-b, and only over the WAN: there it listens, and nowhere else.
    let far_end = SocketAddr::new(traffic(claimed.subnet, WAN_ENDS.1).into(), claimed.mediary_b.port());
    Topology {
        insight_eu: agent("insight-eu", &claimed.insight_eu),
        mediary_a: moved("mediary-a", claimed.mediary_a),
        mediary_a_agent: agent("mediary-a", &claimed.mediary_a_agent),
        wan: far_end,
        wan_control: (address("wan"), CONTROL_PORT).into(),
        mediary_b: far_end,
        mediary_b_agent: agent("mediary-b", &claimed.mediary_b_agent),
        gateway_b: moved("gateway-b", claimed.gateway_b),
        gateway_b_agent: agent("gateway-b", &claimed.gateway_b_agent),
        service_b: moved("service-b", claimed.service_b),
        slow_b: moved("slow-b", claimed.slow_b),
        insight_sg: agent("insight-sg", &claimed.insight_sg),
        load_control: moved("load", claimed.load_control),
        ..*claimed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_nodes_share_an_address_or_a_management_link() {
        let all: Vec<Ipv4Addr> = SEATS.iter().flat_map(|s| s.reachable(77).chain(s.management(77))).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "{all:?}");
    }

    #[test]
    fn each_region_is_one_network_and_the_other_is_outside_it() {
        for seat in SEATS {
            let network = seat.host & 0b1100_0000;
            let expected = match seat.region {
                Region::Eu => 0,
                Region::Sg => 64,
                Region::Between => 128,
            };
            assert_eq!(network, expected, "{}", seat.node);
        }
    }

    #[test]
    fn what_the_downstream_side_dials_is_the_far_end_of_the_wan() {
        let at = apart(&Topology::of(77));
        assert_eq!(at.wan.to_string(), "198.19.77.130:15080");
        assert_eq!(at.wan_control.to_string(), "198.19.77.133:19701");
        assert_eq!(at.mediary_b_agent.metrics.to_string(), "198.19.77.84:19747");
        assert_eq!(at.claim, Topology::of(77).claim);
    }
}
