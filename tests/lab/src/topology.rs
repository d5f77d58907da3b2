//! Where everything of a run listens: fixed ports on addresses inside the run's own subnet, so
//! that several runs coexist and a capture can be read without a table.
//!
//! [`Topology::of`] has them on loopback. A run in namespaces has the same ports on addresses of
//! its own networks, and keeps only the claim on loopback.

use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Port on `127.S.0.1` that the harness of a run holds as long as it owns the subnet.
pub const CLAIM_PORT: u16 = 19700;
/// Port of every component's control protocol, on the component's own address.
pub const CONTROL_PORT: u16 = 19701;
/// Port of the gRPC listener of the agents on forwarding nodes: not the receiver's, since peer
/// groups of the kernel measurements tell by the port who calls a service and who asks an agent.
const REPORT_PORT: u16 = 19750;
/// Second octets a run may claim. Below 32 lies what people use by hand (127.0.0.1, 127.0.1.1).
pub const SUBNETS: std::ops::RangeInclusive<u8> = 32..=250;

/// The three listeners of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentAddresses {
    /// Prometheus metrics and readiness.
    pub metrics: SocketAddr,
    /// Administration: API and reload.
    pub admin: SocketAddr,
    /// gRPC: the receiver and reports; on forwarding nodes reports only.
    pub grpc: SocketAddr,
}

/// Every address of a run, by the name of what listens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// S of `127.S.0.0/16`.
    pub subnet: u8,
    /// Held by the harness while the run lives.
    pub claim: SocketAddr,
    /// The agent of region eu: the sender.
    pub insight_eu: AgentAddresses,
    /// First forwarder, in eu.
    pub mediary_a: SocketAddr,
    /// The agent on mediary-a's node, if the run has node agents.
    pub mediary_a_agent: AgentAddresses,
    /// The WAN link, as mediary-a dials it; it leads to mediary-b. In namespaces the link carries
    /// packets, and this is mediary-b's own address on its far end.
    pub wan: SocketAddr,
    /// The control address of the WAN link.
    pub wan_control: SocketAddr,
    /// Second forwarder, in sg.
    pub mediary_b: SocketAddr,
    /// The agent on mediary-b's node, if the run has node agents.
    pub mediary_b_agent: AgentAddresses,
    /// Third forwarder, in sg: it knows the services.
    pub gateway_b: SocketAddr,
    /// The agent on gateway-b's node, if the run has node agents.
    pub gateway_b_agent: AgentAddresses,
    /// The business service.
    pub service_b: SocketAddr,
    /// The service of the background traffic: slow and variable on purpose.
    pub slow_b: SocketAddr,
    /// The agent of region sg: the receiver.
    pub insight_sg: AgentAddresses,
    /// The load generator's control address (it serves nothing else).
    pub load_control: SocketAddr,
}

impl Topology {
    /// The addresses of subnet `127.subnet.0.0/16`; binds nothing.
    pub fn of(subnet: u8) -> Topology {
        let at = |third: u8, host: u8, port: u16| -> SocketAddr {
            (Ipv4Addr::new(127, subnet, third, host), port).into()
        };
        let agent = |third: u8, host: u8| AgentAddresses {
            metrics: at(third, host, 19747),
            admin: at(third, host, 19748),
            grpc: at(third, host, 19749),
        };
        let beside =
            |third: u8, host: u8| AgentAddresses { grpc: at(third, host, REPORT_PORT), ..agent(third, host) };
        Topology {
            subnet,
            claim: at(0, 1, CLAIM_PORT),
            insight_eu: agent(1, 10),
            mediary_a: at(1, 20, 15080),
            mediary_a_agent: beside(1, 20),
            wan: at(9, 1, 15080),
            wan_control: at(9, 1, CONTROL_PORT),
            mediary_b: at(2, 20, 15080),
            mediary_b_agent: beside(2, 20),
            gateway_b: at(2, 30, 15081),
            gateway_b_agent: beside(2, 30),
            service_b: at(2, 40, 50051),
            slow_b: at(2, 41, 50051),
            insight_sg: agent(2, 10),
            load_control: at(1, 30, CONTROL_PORT),
        }
    }

    /// The control address of the component that listens at `address`.
    pub fn control(address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip(), CONTROL_PORT)
    }

    /// Where the agent of a node listens: of `insight-eu` and `insight-sg`, and of the forwarders
    /// where a run has node agents. `None` for nodes that never have one.
    pub fn agent(&self, node: &str) -> Option<AgentAddresses> {
        match node {
            "insight-eu" => Some(self.insight_eu),
            "insight-sg" => Some(self.insight_sg),
            "mediary-a" => Some(self.mediary_a_agent),
            "mediary-b" => Some(self.mediary_b_agent),
            "gateway-b" => Some(self.gateway_b_agent),
            _ => None,
        }
    }

    /// Every address that a component of the run will bind, the claim left out.
    fn all(&self) -> Vec<SocketAddr> {
        let traffic = [self.mediary_a, self.wan, self.mediary_b, self.gateway_b, self.service_b, self.slow_b];
        let at_forwarders = [self.mediary_a_agent, self.mediary_b_agent, self.gateway_b_agent];
        let agents = [self.insight_eu, self.insight_sg].into_iter().chain(at_forwarders);
        let agents = agents.flat_map(|a| [a.metrics, a.admin, a.grpc]);
        traffic
            .into_iter()
            .flat_map(|a| [a, Topology::control(a)])
            .chain(agents)
            .chain([self.load_control])
            .collect()
    }

    /// Claims the first free subnet at or after a start that differs between processes.
    ///
    /// The listener that comes back is the claim: the subnet is free again as soon as it is
    /// closed, which the kernel also does for a harness that was killed. `None` when every
    /// subnet of [`SUBNETS`] is taken.
    pub fn claim() -> Option<(Topology, TcpListener)> {
        let count = usize::from(*SUBNETS.end() - *SUBNETS.start()) + 1;
        let start = std::process::id() as usize % count;
        SUBNETS.cycle().skip(start).take(count).find_map(Topology::try_claim)
    }

    /// One subnet: the claim first, so that two runs never test the same addresses at once.
    fn try_claim(subnet: u8) -> Option<(Topology, TcpListener)> {
        let topology = Topology::of(subnet);
        let claim = TcpListener::bind(topology.claim).ok()?;
        // A stray process of somebody else on one of the addresses: leave it alone, go on.
        let free = topology.all().into_iter().all(|address| TcpListener::bind(address).is_ok());
        free.then_some((topology, claim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};

    /// These tests close claims and take them again: nobody of this process may come between.
    static ALONE: Mutex<()> = Mutex::new(());

    #[test]
    fn two_claims_never_share_a_subnet() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, _held) = Topology::claim().unwrap();
        let (second, _also) = Topology::claim().unwrap();
        assert_ne!(first.subnet, second.subnet);
    }

    #[test]
    fn a_closed_claim_can_be_taken_again() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, held) = Topology::claim().unwrap();
        assert!(Topology::try_claim(first.subnet).is_none(), "held claim given twice");
        drop(held);
        assert!(Topology::try_claim(first.subnet).is_some(), "closed claim still refused");
    }

    #[test]
    fn a_foreign_listener_on_one_address_excludes_the_subnet() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (free, held) = Topology::claim().unwrap();
        let _stray = TcpListener::bind(free.gateway_b).unwrap();
        drop(held);
        assert!(Topology::try_claim(free.subnet).is_none());
    }
}
