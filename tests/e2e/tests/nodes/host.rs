//! A hop that lacks CPU says so beside its time: it alone, and in the figure that fits.

use insight_e2e::exposition::Exposition;
use insight_e2e::http;
use insight_e2e::nodes::{Host, Nodes, NodesLedger, status};
use insight_lab::{Fault, Forwarder};

/// Nodes with a forwarder.
pub const HOPS: [&str; 3] = ["mediary-a", "mediary-b", "gateway-b"];

/// What the hops' hosts say in one window, in the order of [`HOPS`]. **None**: not all of them tell.
fn hosts(ledger: &NodesLedger) -> Option<[Host; 3]> {
    let host = |hop: &str| ledger.entry(&format!("hop:{hop}"))?.host;
    let [a, b, gateway] = HOPS.map(host);
    Some([a?, b?, gateway?])
}

fn start(test: &str, fault: &str) -> Option<(Nodes, Fault, f64)> {
    let mut nodes = Nodes::start(test, Forwarder::Nginx, |options| options.background_rps = 50.0)?;
    nodes.wait_for_the_whole();
    nodes.wait_for("what every hop's host says", |ledger| hosts(ledger).map(|_| ()));
    let before = nodes.measure(5).seconds("hop:mediary-a");
    let fault: Fault = fault.parse().unwrap();
    nodes.lab.inject(&fault).unwrap();
    Some((nodes, fault, before))
}

/// What the sender exports of a hop.
fn exported(nodes: &Nodes, name: &str, hop: &str) -> Option<f64> {
    let page = http::get(nodes.lab.eu().metrics, "/metrics", &[]).unwrap().body;
    let shown = Exposition::parse(&page).unwrap();
    let name = format!("insight_path_hop_{name}_ratio");
    shown.value(&name, &[("source", "eu"), ("target", "sg"), ("hop", hop)])
}

#[test]
fn a_busy_mediary_and_its_busy_cpu_are_seen_side_by_side() {
    let test = "a_busy_mediary_and_its_busy_cpu_are_seen_side_by_side";
    let Some((mut nodes, fault, before)) = start(test, "mediary-a-busy=16") else { return };
    let [a, b, gateway] = nodes.wait_for("a slow and busy mediary-a", |ledger| {
        let hosts = hosts(ledger)?;
        let slower = ledger.seconds("hop:mediary-a")? - before;
        (slower > 0.002 && hosts[0].busy? > 0.9 && hosts[0].run_delay? > 0.05).then_some(hosts)
    });
    println!("busy: {a:?}, others {b:?} {gateway:?}");
    // What one waits for is the CPU: nothing holds any group back.
    assert!(
        [a, b, gateway].iter().all(|host| host.throttled.unwrap_or(0.0) < 0.01),
        "{a:?} {b:?} {gateway:?}"
    );
    for other in [b, gateway] {
        assert!(other.run_delay.unwrap() < a.run_delay.unwrap() / 2.0, "{a:?} {b:?} {gateway:?}");
    }
    assert!(exported(&nodes, "busy", "mediary-a").unwrap() > 0.8);
    nodes.lab.clear(&fault).unwrap();
    nodes.lab.stop().unwrap();
}

#[test]
fn a_throttled_mediary_and_its_throttling_are_seen_side_by_side() {
    let test = "a_throttled_mediary_and_its_throttling_are_seen_side_by_side";
    // 70 requests a second need some milliseconds of CPU, which the default quota of 20 ms leaves alone.
    let Some((mut nodes, fault, before)) = start(test, "mediary-a-throttled=1ms") else { return };
    let hosts = nodes.wait_for("a slow and throttled mediary-a", |ledger| {
        let hosts = hosts(ledger)?;
        let slower = ledger.seconds("hop:mediary-a")? - before;
        (slower > 0.002 && hosts[0].throttled? > 0.05).then_some(hosts)
    });
    println!("throttled: {hosts:?}");
    for other in &hosts[1..] {
        assert!(other.throttled.unwrap_or(0.0) < 0.01, "{hosts:?}");
    }
    assert!(exported(&nodes, "throttled", "mediary-a").unwrap() > 0.0);
    nodes.lab.clear(&fault).unwrap();
    nodes.lab.stop().unwrap();
}

#[test]
fn each_agent_shows_the_forwarder_of_its_own_node_only() {
    let test = "each_agent_shows_the_forwarder_of_its_own_node_only";
    let Some(nodes) = Nodes::start(test, Forwarder::Nginx, |_| {}) else { return };
    nodes.wait_for("what every hop's host says", |ledger| hosts(ledger).map(|_| ()));
    let mut all = Vec::new();
    for hop in HOPS {
        let shown = status(nodes.lab.agent(hop).unwrap().admin);
        let [forwarder] = &shown["forwarders"].as_array().unwrap()[..] else { panic!("{hop}: {shown:#}") };
        let pids: Vec<u64> =
            forwarder["pids"].as_array().unwrap().iter().filter_map(serde_json::Value::as_u64).collect();
        assert!(!pids.is_empty(), "{hop}: {forwarder:#}");
        assert!(forwarder["threads"].as_u64() >= Some(pids.len() as u64), "{hop}: {forwarder:#}");
        let place = nodes.lab.place(hop).unwrap();
        let cpus: Vec<u64> = place.cpus.iter().map(|cpu| *cpu as u64).collect();
        assert_eq!(forwarder["allowed_cpus"], serde_json::json!(cpus), "{hop}");
        all.extend(pids);
    }
    let (count, mut distinct) = (all.len(), all);
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), count, "no process belongs to two nodes");
    assert_eq!(nodes.status()["forwarders"], serde_json::json!([]), "beside the sender nothing forwards");
    nodes.lab.stop().unwrap();
}
