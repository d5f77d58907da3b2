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

/// The sum of all samples whose line begins with `name` and holds all of `labels`; zero without any.
fn sum_of(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let lines = metrics.lines().filter(|line| {
        line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|label| line.contains(label))
    });
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// Whether the kernel lets the agent of `node` measure; declares the test skipped when not.
fn measures_in_the_kernel(test: &str, lab: &Lab, node: &str) -> bool {
    let metrics = get(lab.agent(node).unwrap().metrics, "/metrics");
    let failed = metrics.lines().find(|line| {
        line.starts_with("insight_measurement_state{")
            && line.contains("measurement=\"socket_rtt\"")
            && !line.contains("state=\"active\"")
    });
    if let Some(line) = failed {
        skip(test, SkipReason::Impossible(line));
    }
    failed.is_none()
}

#[test]
fn each_agent_measures_its_own_node_and_the_link_behind_it() {
    let test = "agents::each_agent_measures_its_own_node_and_the_link_behind_it";
    if !root_lab(test) {
        return;
    }
    let Some(agent) = agent_binary() else {
        return skip(test, SkipReason::Missing("insight-agent is not built (cargo build -p insight-agent)"));
    };
    let lab = lab_with_agents(agent);
    if !measures_in_the_kernel(test, &lab, "mediary-a") {
        return;
    }
    let metrics = |node: &str| get(lab.agent(node).unwrap().metrics, "/metrics");
    for (node, downstream, upstream, link) in [
        ("mediary-a", "insight-eu", "mediary-b", "mediary-b"),
        ("mediary-b", "mediary-a", "gateway-b", "gateway-b"),
        ("gateway-b", "mediary-b", "service", "insight-sg"),
    ] {
        let [downstream, upstream] = [downstream, upstream].map(|peer| format!("peer=\"{peer}\""));
        for (name, labels) in [
            ("insight_socket_rtt_seconds_count", vec![downstream.as_str(), "role=\"accepted\""]),
            ("insight_socket_rtt_seconds_count", vec![upstream.as_str(), "role=\"connected\""]),
            ("insight_forward_residence_seconds_count", vec![upstream.as_str(), "direction=\"down\""]),
        ] {
            wait_until(&format!("{node}: {name} {labels:?}"), || {
                sum_of(&metrics(node), name, &labels) >= 5.0
            });
        }
        let link = format!("to=\"{link}\"");
        let labels = [link.as_str(), "ruler=\"handshake\""];
        wait_until(&format!("{node}: the link {link}"), || {
            sum_of(&metrics(node), "insight_link_rtt_seconds_count", &labels) >= 5.0
        });
        // The WAN has 20 ms; a link inside a region has none of them. Floors hold on a busy machine.
        let floors = ["insight_link_rtt_floor_seconds", "insight_socket_rtt_floor_seconds"].map(|name| {
            let ends = if name.contains("link") { &labels[..] } else { &[upstream.as_str(), "role=\"conn"] };
            sum_of(&metrics(node), name, ends)
        });
        for floor in floors.into_iter().filter(|floor| *floor > 0.0) {
            assert_eq!(floor >= 0.020, node == "mediary-a", "{node}: {floors:?}");
        }
    }
    // Probes that nobody but the run can have sent, and no error on the hops because of them.
    for hop in ["mediary-a", "mediary-b", "gateway-b"] {
        let log = std::fs::read_to_string(lab.run_dir().join(format!("{hop}.log"))).unwrap();
        assert_eq!(log, "", "{hop}");
    }
    lab.stop().unwrap();
}

#[test]
fn a_killed_node_agent_comes_back_and_without_link_probes_there_are_none() {
    let test = "agents::a_killed_node_agent_comes_back_and_without_link_probes_there_are_none";
    if !root_lab(test) {
        return;
    }
    let Some(agent) = agent_binary() else {
        return skip(test, SkipReason::Missing("insight-agent is not built (cargo build -p insight-agent)"));
    };
    let mut options = options();
    options.agent_binary = agent;
    options.start_agents = true;
    options.node_agents = true;
    options.link_probes = false;
    let mut lab = start(options);
    let at = lab.agent("mediary-b").unwrap();
    assert!(!get(at.metrics, "/metrics").contains("mode=\"link\""));
    lab.kill("agent@mediary-b");
    let alive = |lab: &Lab| lab.nodes().iter().find(|node| node.name == "agent@mediary-b").unwrap().alive;
    assert!(!alive(&lab) && TcpStream::connect(at.metrics).is_err());
    lab.restart("agent@mediary-b").unwrap();
    assert!(alive(&lab) && get(at.metrics, "/metrics").contains("measurement=\"socket_rtt\""));
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
