//! An agent that is killed, and one beside another: the traffic that they measure does not notice.

use crate::loaded::Loaded;
use insight_e2e::exposition::Exposition;
use insight_e2e::http;
use insight_e2e::nodes::Nodes;
use insight_e2e::path::{program, scrape};
use insight_e2e::process::Process;
use insight_e2e::traces::pinned;
use insight_e2e::wait::{PATIENCE, wait_until};
use insight_lab::load::{LoadRequest, LoadState};
use insight_lab::{Forwarder, Lab, control};
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Requests per second: enough that a lost or late byte in a second would show, few for the machine.
const LOAD: f64 = 200.0;

/// The node whose agents come and go, and its agent in the lab.
const NODE: &str = "mediary-a";
const AGENT: &str = "agent@mediary-a";

fn load(lab: &Lab) -> LoadState {
    control::ask(lab.addresses().load_control, &LoadRequest::Get).unwrap()
}

/// Everything that was asked since `before` was answered well, and not too little was asked.
#[track_caller]
fn assert_nobody_noticed(lab: &Lab, before: LoadState, least: u64) {
    let now = load(lab);
    assert_eq!((now.errors, now.shed), (0, 0), "{now:?}");
    assert!(now.ok - before.ok > least, "no steady load: {before:?} {now:?}");
}

fn pid(lab: &Lab) -> u32 {
    let node = lab.nodes().into_iter().find(|node| node.name == AGENT).unwrap();
    u32::try_from(node.pid.unwrap()).unwrap()
}

/// What an agent has counted of the exchanges on its node and of the round trips.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Counted {
    turnarounds: f64,
    round_trips: f64,
    paired: f64,
}

impl Counted {
    /// **None**: nothing is exported yet.
    fn of(scrape: &Exposition) -> Option<Self> {
        let sum = |name: &str, labels: &[(&str, &str)]| scrape.sum(name, labels);
        Some(Self {
            turnarounds: sum("insight_socket_turnaround_seconds_count", &[])?,
            round_trips: sum("insight_socket_rtt_seconds_count", &[])?,
            paired: sum("insight_forward_pairs_total", &[("outcome", "paired")])?,
        })
    }

    fn since(self, before: Self) -> [f64; 3] {
        [
            self.turnarounds - before.turnarounds,
            self.round_trips - before.round_trips,
            self.paired - before.paired,
        ]
    }
}

#[test]
fn a_killed_agent_costs_the_forwarded_traffic_nothing_and_leaves_nothing_behind() {
    let test = "a_killed_agent_costs_the_forwarded_traffic_nothing_and_leaves_nothing_behind";
    let Some(mut nodes) = Nodes::start(test, Forwarder::Nginx, |options| options.background_rps = LOAD)
    else {
        return;
    };
    nodes.wait_for_the_whole();
    let pinned_before = pinned();
    assert!(pinned_before.iter().all(|path| !path.contains("insight")), "{pinned_before:?}");
    let loaded = Loaded::by(pid(&nodes.lab));
    assert!(loaded.programs() > 10 && loaded.maps() > 5 && loaded.links() > 10, "{loaded:?}");
    assert!(!loaded.left().is_empty(), "what runs is seen");
    let before = load(&nodes.lab);
    // SIGKILL.
    nodes.lab.kill(AGENT);
    wait_until("the kernel to have freed all that the agent had loaded", PATIENCE, || match loaded.left() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    assert_eq!(pinned(), pinned_before);
    sleep(Duration::from_secs(2));
    assert_nobody_noticed(&nodes.lab, before, 200);

    // Another one measures the connections that are open: the load keeps its own for the whole run.
    let started = Instant::now();
    nodes.lab.restart(AGENT).unwrap();
    let metrics = nodes.lab.agent(NODE).unwrap().metrics;
    let counted = wait_until("the new agent's figures", PATIENCE, || {
        let counted = Counted::of(&scrape(metrics));
        let all = counted.filter(|c| c.turnarounds > 10.0 && c.round_trips > 10.0 && c.paired > 10.0);
        all.ok_or_else(|| format!("{counted:?}"))
    });
    println!("{:?} after its start: {counted:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(10), "at once, on a loaded machine: {counted:?}");
    assert_nobody_noticed(&nodes.lab, before, 400);
    nodes.lab.stop().unwrap();
}

/// One more agent on the node, of the same configuration but for its ports, started in its namespace.
struct Second {
    process: Process,
    metrics: SocketAddr,
}

impl Second {
    fn start(lab: &Lab) -> Self {
        let first = lab.agent(NODE).unwrap();
        let moved = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + 1000);
        let mut text = std::fs::read_to_string(lab.run_dir().join(format!("{AGENT}.toml"))).unwrap();
        for address in [first.metrics, first.admin, first.grpc] {
            let (old, new) = (format!("listen = \"{address}\""), format!("listen = \"{}\"", moved(address)));
            assert!(text.contains(&old), "no {old} in {text}");
            text = text.replace(&old, &new);
        }
        let file = lab.run_dir().join("second.toml");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", lab.place(NODE).unwrap().netns_path.display()));
        command.arg(program("insight-agent")).args(["run", "--config"]).arg(file);
        let process = Process::start("second agent", command, &lab.run_dir().join("second.log"));
        let metrics = moved(first.metrics);
        wait_until("the second agent's measurements", PATIENCE, || {
            let page = http::get(metrics, "/metrics", &[]).map_err(|error| error.to_string())?.body;
            if page.contains("measurement=\"socket_rtt\"") { Ok(()) } else { Err(page) }
        });
        Self { process, metrics }
    }
}

/// Who sends along the path.
const SENDERS: [&str; 2] = ["load", "insight-eu"];

/// What each of the agents counts of some seconds of traffic on connections that are opened for it. Before
/// and behind it nobody sends, so that all read the same, whenever they read.
fn counts(lab: &mut Lab, metrics: &[SocketAddr]) -> Vec<[f64; 3]> {
    // Longer than two readings.
    let quiet = Duration::from_millis(1500);
    let read = |lab: &mut Lab| -> Vec<Counted> {
        SENDERS.iter().for_each(|sender| lab.kill(sender));
        sleep(quiet);
        metrics.iter().map(|address| Counted::of(&scrape(*address)).unwrap()).collect()
    };
    let before = read(lab);
    SENDERS.iter().for_each(|sender| lab.restart(sender).unwrap());
    sleep(Duration::from_secs(12));
    let behind = read(lab);
    behind.iter().zip(before).map(|(behind, before)| behind.since(before)).collect()
}

#[test]
fn two_agents_on_one_node_count_the_same_and_the_end_of_one_is_no_loss_of_the_other() {
    let test = "two_agents_on_one_node_count_the_same_and_the_end_of_one_is_no_loss_of_the_other";
    let Some(mut nodes) = Nodes::start(test, Forwarder::Nginx, |options| {
        options.background_rps = 50.0;
        // With silence between them, each is an exchange of its own, and what was in doubt is no more.
        options.probe_interval = Duration::from_millis(210);
    }) else {
        return;
    };
    nodes.wait_for_the_whole();
    let mut second = Second::start(&nodes.lab);
    let metrics = [nodes.lab.agent(NODE).unwrap().metrics, second.metrics];
    let both = counts(&mut nodes.lab, &metrics);
    println!("turnarounds, round trips, pairs: {both:?}");
    // How many turnarounds are beyond doubt, with others' requests in between, is a matter of chance: but
    // the same chance for both.
    for ((one, another), least) in both[0].iter().zip(both[1]).zip([5.0, 50.0, 50.0]) {
        let differ = (one - another).abs();
        assert!(*one > least && (differ <= 2.0 || differ / another < 0.05), "{both:?}");
    }

    SENDERS.iter().for_each(|sender| nodes.lab.restart(sender).unwrap());
    nodes.wait_for_the_whole();
    let before = (load(&nodes.lab), Counted::of(&scrape(metrics[0])).unwrap());
    second.process.stop(Signal::SIGKILL, PATIENCE);
    // On the same connections, whose flags both agents had asked for.
    wait_until("the first one's figures to rise on", PATIENCE, || {
        let more = Counted::of(&scrape(metrics[0])).unwrap().since(before.1);
        let enough = more.iter().zip([5.0, 50.0, 50.0]).all(|(more, enough)| *more > enough);
        let answered = load(&nodes.lab).ok - before.0.ok;
        if enough && answered > 50 { Ok(()) } else { Err(format!("{more:?}, {answered} answers")) }
    });
    assert_nobody_noticed(&nodes.lab, before.0, 50);
    let alone = counts(&mut nodes.lab, &metrics[..1]);
    println!("alone: {alone:?}");
    assert!(alone[0][0] > 5.0, "turnarounds alone: {alone:?}");
    for (one, another) in both[0].iter().zip(alone[0]).skip(1) {
        // The load is random, and of starting to send it takes more or less of the time.
        assert!((one / another - 1.0).abs() < 0.25, "with another one {both:?}, alone {alone:?}");
    }
    let lost = scrape(metrics[0]).sum("insight_lost_total", &[("loss", "smoothed")]);
    assert_eq!(lost.unwrap_or(0.0), 0.0, "every round trip is a single one, as before");
    nodes.lab.stop().unwrap();
}
