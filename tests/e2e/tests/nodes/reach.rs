//! What an agent cannot reach: other nodes' sockets, and agents of the other region.

use insight_agent::collect::kernel::Kernel;
use insight_agent::collect::kernel::settings::{PeerGroup, Scope, Settings};
use insight_common::kernel::loss::Measurement;
use insight_e2e::nodes::Nodes;
use insight_lab::{Forwarder, Lab, inside};
use std::net::TcpStream;
use std::time::Duration;

/// The programs of an agent whose only peer group is insight-eu, and whose scope is one node.
fn kernel_of(lab: &Lab, node: &str) -> Kernel {
    let eu = lab.addresses().insight_eu.grpc.ip();
    let group = PeerGroup { name: "insight-eu".into(), networks: vec![(eu, 32)], ports: vec![] };
    let namespace = u32::try_from(lab.place(node).unwrap().netns_inum).unwrap();
    let settings = Settings {
        measurements: vec![Measurement::SocketRtt, Measurement::ReceiveWait, Measurement::Turnaround],
        scope: Scope { namespaces: vec![namespace], ..Scope::default() },
        peers: vec![group],
        ..Settings::default()
    };
    Kernel::start(&settings)
}

/// Durations that the programs have counted of insight-eu's connections.
fn counted(kernel: &Kernel) -> u64 {
    let snapshot = kernel.snapshot().unwrap();
    snapshot.durations.iter().filter(|((_, group), _)| group.peer == 1).map(|(_, found)| found.count).sum()
}

#[test]
fn an_agent_holds_no_sample_of_another_nodes_sockets() {
    let test = "an_agent_holds_no_sample_of_another_nodes_sockets";
    let Some(nodes) = Nodes::start(test, Forwarder::Nginx, |_| {}) else { return };
    nodes.wait_for_the_whole();
    // insight-eu talks to mediary-a alone: who watches mediary-b must not hear of it.
    let [there, here] = ["mediary-a", "mediary-b"].map(|node| kernel_of(&nodes.lab, node));
    std::thread::sleep(Duration::from_secs(3));
    let [there, here] = [&there, &here].map(counted);
    assert!(there > 50, "the control saw {there}: is anybody talking?");
    assert_eq!(here, 0, "mediary-b's programs counted connections of mediary-a");
    nodes.lab.stop().unwrap();
}

#[test]
fn from_one_region_no_agent_of_the_other_can_be_reached() {
    let test = "from_one_region_no_agent_of_the_other_can_be_reached";
    let Some(nodes) = Nodes::start(test, Forwarder::Nginx, |_| {}) else { return };
    let connects = |from: &str, to: &str| {
        let agent = nodes.lab.agent(to).unwrap();
        [agent.grpc, agent.admin, agent.metrics].map(|address| {
            inside(&nodes.lab.place(from).unwrap().netns_path, || {
                TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok()
            })
            .unwrap()
        })
    };
    for to in ["mediary-b", "gateway-b", "insight-sg"] {
        assert_eq!(connects("insight-eu", to), [false; 3], "insight-eu reaches {to}");
    }
    assert!(connects("insight-eu", "mediary-a")[0], "the control: its own region");
    assert!(connects("insight-sg", "gateway-b")[0], "the control: its own region");
    nodes.lab.stop().unwrap();
}
