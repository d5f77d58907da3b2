//! Real agents in the root lab: the sender probes through it, and every forwarding node has one.

use crate::{lab_binary, options, root_lab, start, wait_until};
use insight_lab::load::{LoadRequest, LoadState};
use insight_lab::skip::{SkipReason, skip};
use insight_lab::{Lab, control};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

/// The agent, if it was built beside the lab.
fn agent_binary() -> Option<PathBuf> {
    Some(lab_binary().with_file_name("insight-agent")).filter(|path| path.is_file())
}

/// `GET path` at `address`: the whole answer.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn lab_with_agents(agent: PathBuf) -> Lab {
    let mut options = options();
    options.agent_binary = agent;
    options.start_agents = true;
    options.node_agents = true;
    options.background_rps = 20.0;
    start(options)
}

#[test]
fn agents_run_on_every_node_and_probes_succeed() {
    let test = "agents::agents_run_on_every_node_and_probes_succeed";
    if !root_lab(test) {
        return;
    }
    let Some(agent) = agent_binary() else {
        return skip(test, SkipReason::Missing("insight-agent is not built (cargo build -p insight-agent)"));
    };
    let lab = lab_with_agents(agent);
    let agents: Vec<String> =
        lab.nodes().into_iter().filter(|node| node.role == "agent").map(|node| node.name).collect();
    assert_eq!(agents, ["insight-sg", "agent@gateway-b", "agent@mediary-b", "agent@mediary-a", "insight-eu"]);
    for node in ["insight-eu", "insight-sg", "mediary-a", "mediary-b", "gateway-b"] {
        let at = lab.agent(node).unwrap();
        assert!(get(at.metrics, "/metrics").starts_with("HTTP/1.1 200"), "{node}");
        assert!(TcpStream::connect(at.admin).is_ok() && TcpStream::connect(at.grpc).is_ok(), "{node}");
    }
    assert!(lab.agent("service-b").is_none());
    let node_agent = lab.nodes().into_iter().find(|node| node.name == "agent@mediary-a").unwrap();
    assert_eq!(node_agent.place.as_ref(), lab.place("mediary-a"), "beside its forwarder");

    for probe in ["sg-insight", "sg-business"] {
        wait_until("ten probes succeed", || successes(&get(lab.eu().metrics, "/metrics"), probe) >= 10.0);
    }
    wait_until("background requests are answered", || {
        let load: LoadState = control::ask(lab.addresses().load_control, &LoadRequest::Get).unwrap();
        load.ok >= 10 && load.errors == 0
    });
    lab.stop().unwrap();
}

/// How many probes of this name have succeeded, by the agent's own counter.
fn successes(metrics: &str, probe: &str) -> f64 {
    let name = format!("probe=\"{probe}\"");
    let lines = metrics.lines().filter(|line| {
        line.starts_with("insight_probe_results_total{")
            && line.contains(&name)
            && line.contains("status=\"OK\"")
    });
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}
