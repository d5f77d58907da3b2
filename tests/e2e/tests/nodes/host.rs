//! A hop that lacks CPU says so beside its time: it alone, and in the figure that fits.

use insight_e2e::exposition::Exposition;
use insight_e2e::http;
use insight_e2e::nodes::{Host, Nodes, NodesLedger, status};
use insight_e2e::path::LEDGER;
use insight_e2e::wait::wait_until;
use insight_lab::{Fault, Forwarder};
use std::time::Duration;

/// Nodes with a forwarder.
pub const HOPS: [&str; 3] = ["mediary-a", "mediary-b", "gateway-b"];

/// How much longer a hop takes by the faults here, at least. **Unit**: seconds.
const SLOWER: f64 = 0.002;

/// How long figures may take to be exported together on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the hops' hosts say in one window, in the order of [`HOPS`]. **None**: not all of them tell.
fn hosts(ledger: &NodesLedger) -> Option<[Host; 3]> {
    let host = |hop: &str| ledger.entry(&format!("hop:{hop}"))?.host;
    let [a, b, gateway] = HOPS.map(host);
    Some([a?, b?, gateway?])
}

/// A lab under background load with faults, and mediary-a's hop before them.
fn start(test: &str, faults: &[&str]) -> Option<(Nodes, Vec<Fault>, f64)> {
    let mut nodes = Nodes::start(test, Forwarder::Nginx, |options| options.background_rps = 50.0)?;
    nodes.wait_for_the_whole();
    nodes.wait_for("what every hop's host says", |ledger| hosts(ledger).map(|_| ()));
    let before = nodes.measure(5).seconds("hop:mediary-a");
    let faults: Vec<Fault> = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    faults.iter().for_each(|fault| nodes.lab.inject(fault).unwrap());
    Some((nodes, faults, before))
}

fn stop(mut nodes: Nodes, faults: &[Fault]) {
    faults.iter().for_each(|fault| nodes.lab.clear(fault).unwrap());
    nodes.lab.stop().unwrap();
}

/// What one scrape of the sender has of mediary-a: the hop's time, in seconds, and what its
/// forwarder had of its CPUs. **None**: not all of it.
fn exported(nodes: &Nodes) -> Option<(f64, [f64; 2])> {
    let page = http::get(nodes.lab.eu().metrics, "/metrics", &[]).unwrap().body;
    let shown = Exposition::parse(&page).unwrap();
    let path = [("source", "eu"), ("target", "sg")];
    let hop = |more| shown.value(more, &[path[0], path[1], ("hop", "mediary-a")]);
    let entry = [path[0], path[1], ("ledger", "window"), ("segment", "hop:mediary-a")];
    let figures = [hop("insight_path_hop_busy_ratio")?, hop("insight_path_hop_throttled_ratio")?];
    Some((shown.value(LEDGER, &entry)?, figures))
}

/// Waits until one scrape has a hop that is slower than `before`, and figures as they shall be.
fn wait_for_export(nodes: &Nodes, before: f64, fits: impl Fn([f64; 2]) -> bool) {
    wait_until("the hop's time, busy share and throttling in one scrape", PATIENCE, || {
        let seen = exported(nodes);
        match seen {
            Some((seconds, figures)) if seconds - before > SLOWER && fits(figures) => Ok(()),
            _ => Err(format!("{seen:?}, the hop {before} s before")),
        }
    });
}

#[test]
fn a_busy_mediary_and_its_busy_cpu_are_seen_side_by_side() {
    let test = "a_busy_mediary_and_its_busy_cpu_are_seen_side_by_side";
    let Some((nodes, faults, before)) = start(test, &["mediary-a-busy=16"]) else { return };
    let [a, b, gateway] = nodes.wait_for("a slow and busy mediary-a", |ledger| {
        let hosts = hosts(ledger)?;
        let slower = ledger.seconds("hop:mediary-a")? - before;
        (slower > SLOWER && hosts[0].busy? > 0.9 && hosts[0].run_delay? > 0.05).then_some(hosts)
    });
    println!("busy: {a:?}, others {b:?} {gateway:?}");
    // What one waits for is the CPU: nothing holds any group back, which is known and not only unsaid.
    assert!(
        [a, b, gateway].iter().all(|host| host.throttled.is_some_and(|share| share < 0.01)),
        "{a:?} {b:?} {gateway:?}"
    );
    for other in [b, gateway] {
        assert!(other.run_delay.unwrap() < a.run_delay.unwrap() / 2.0, "{a:?} {b:?} {gateway:?}");
    }
    wait_for_export(&nodes, before, |[busy, throttled]| busy > 0.8 && throttled < 0.01);
    stop(nodes, &faults);
}

#[test]
fn a_throttled_mediary_and_its_throttling_are_seen_side_by_side() {
    let test = "a_throttled_mediary_and_its_throttling_are_seen_side_by_side";
    // 70 requests a second need some milliseconds of CPU, which the default quota of 20 ms leaves alone.
    let Some((nodes, faults, before)) = start(test, &["mediary-a-throttled=1ms"]) else { return };
    // So little CPU may be too little for the far region's reports, which come through mediary-a: what
    // the others' hosts say counts as far as it came.
    let hosts = nodes.wait_for("a slow and throttled mediary-a", |ledger| {
        let hosts = HOPS.map(|hop| ledger.entry(&format!("hop:{hop}"))?.host);
        let slower = ledger.seconds("hop:mediary-a")? - before;
        (slower > SLOWER && hosts[0]?.throttled? > 0.05).then_some(hosts)
    });
    println!("throttled: {hosts:?}");
    for other in hosts[1..].iter().flatten() {
        assert!(other.throttled.unwrap_or(0.0) < 0.01, "{hosts:?}");
    }
    wait_for_export(&nodes, before, |[_, throttled]| throttled > 0.05);
    stop(nodes, &faults);
}

#[test]
fn a_mediary_that_is_busy_within_a_quota_shows_time_busy_share_and_throttling_in_one_place() {
    let test = "a_mediary_that_is_busy_within_a_quota_shows_time_busy_share_and_throttling_in_one_place";
    // A computing thread takes what the requests leave of the default quota, 20 ms in each 100 ms.
    let faults = ["mediary-a-throttled", "mediary-a-busy=1"];
    let Some((nodes, faults, before)) = start(test, &faults) else { return };
    let (seconds, host) = nodes.wait_for("a slow, busy and throttled mediary-a", |ledger| {
        let (seconds, host) = (ledger.seconds("hop:mediary-a")?, ledger.entry("hop:mediary-a")?.host?);
        let is_so = seconds - before > SLOWER && host.busy? > 0.15 && host.throttled? > 0.1;
        is_so.then_some((seconds, host))
    });
    println!("{before} s before, {seconds} s with {host:?}");
    wait_for_export(&nodes, before, |[busy, throttled]| busy > 0.15 && throttled > 0.1);
    stop(nodes, &faults);
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
