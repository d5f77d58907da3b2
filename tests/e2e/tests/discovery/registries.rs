//! Registries that services come to and go from: doubles of Consul and of Kubernetes, killed and begun again.

use super::{PORT, config, good, of_d, status, wait_for_probes, wait_for_up};
use insight_e2e::agent::{Agent, Config, Site};
use insight_e2e::peers::grpc::Peer;
use insight_e2e::wait::{PATIENCE, wait_until};
use insight_lab::doubles::{ConsulDouble, ConsulInstance, KubernetesDouble, SliceSpec};
use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;

/// Where a registry listens: the host of its address in the site's block, and its port.
const REGISTRY: (u8, u16) = (20, 8500);

const SUCCESS: &str = "insight_discovery_last_success_timestamp_seconds";
const FAILURES: &str = "insight_discovery_failures_total";

/// What runs a double beside the test.
fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

/// Waits until the source fails in this class, and what it told is old. Everybody of its last roster goes on.
/// Returns when the source last knew.
fn outlives(agent: &Agent, class: &str, probes: &[&str]) -> f64 {
    wait_for_up(agent, 0.0);
    let before = good(&agent.scrape());
    let told = wait_until("an age", PATIENCE, || {
        let told = status(agent);
        let age = told["age_seconds"].as_f64().unwrap();
        if age > 1.5 { Ok(told) } else { Err(told.to_string()) }
    });
    assert_eq!(told["failure"]["class"], class, "{told}");
    assert_eq!(told["endpoints"], probes.len(), "{told}");
    let seen = agent.scrape();
    let of = |family: &str| seen.value(family, &[("discovery", "d")]).unwrap();
    assert_eq!(of("insight_discovery_endpoints"), probes.len() as f64);
    let failed = seen.value(FAILURES, &[("discovery", "d"), ("class", class)]);
    assert!(failed.is_some_and(|count| count >= 1.0), "{failed:?}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let known = of(SUCCESS);
    assert!(now - known > 1.0 && now - known < 60.0, "{known} of {now}");
    let after = good(&seen);
    assert!(after.keys().eq(probes), "{after:?}");
    assert!(probes.iter().all(|probe| after[*probe] > before[*probe]), "{before:?} {after:?}");
    known
}

/// Waits until the source knows again who is there: later than it did.
fn is_back(agent: &Agent, known: f64) {
    wait_for_up(agent, 1.0);
    let told = status(agent);
    assert!(told["failure"].is_null(), "{told}");
    let later = of_d(agent, SUCCESS).unwrap();
    assert!(later > known + 1.0, "{known} and {later}");
}

/// No series speaks of these probes.
fn are_gone(agent: &Agent, probes: &[&str]) {
    let page = agent.metrics_text();
    for probe in probes {
        let left: Vec<_> = page.lines().filter(|line| line.contains(&format!("\"{probe}\""))).collect();
        assert!(left.is_empty(), "{left:#?}");
    }
}

fn on<T>(runtime: &Runtime, future: impl Future<Output = T>) -> T {
    runtime.block_on(future)
}

#[test]
fn instances_of_consul_come_and_go_and_outlive_its_death() {
    let (site, runtime) = (Site::new(), runtime());
    let ip = |host| site.loopback.ip(host).to_string();
    let peers = [2, 3, 4].map(|host| Peer::healthy(site.loopback.at(host, PORT)));
    let registry = site.loopback.at(REGISTRY.0, REGISTRY.1);
    let mut consul = on(&runtime, ConsulDouble::start(registry, None)).unwrap();
    let instance = |id: &str, host: u8| {
        let mut instance = ConsulInstance::new(id, &ip(host), PORT).tagged(&["grpc"]);
        instance.meta = [("region".to_owned(), format!("far-{host}"))].into();
        instance
    };
    consul.register("orders", instance("a", 2));
    consul.register("orders", instance("b", 3));
    consul.register("orders", ConsulInstance::new("web", &ip(2), PORT));
    let source =
        format!("consul = {{ address = \"{registry}\", services = [\"orders\"], tags = [\"grpc\"] }}");
    let template =
        "name = \"{meta.consul.service}-{meta.consul.id}\"\nwhere = [\"meta.consul.node_meta.rack = 7\"]";
    let config = config(&source, template);
    let agent = site.start(&config.edited("target = \"far\"", "target = \"{meta.consul.meta.region}\""));
    wait_for_probes(&agent, &["orders-a", "orders-b"]);
    let target = |probe: &str| {
        let seen = agent.scrape();
        let of = [("probe", probe)];
        let first = seen.samples("insight_probe_results_total", &of).next();
        first.map(|sample| sample.labels["target"].clone())
    };
    assert_eq!(["orders-a", "orders-b"].map(target).map(Option::unwrap), ["far-2", "far-3"]);

    // Whoever comes is told by the query that is held; whoever goes takes all series along.
    consul.register("orders", instance("c", 4));
    wait_for_probes(&agent, &["orders-a", "orders-b", "orders-c"]);
    consul.deregister("orders", "b");
    wait_for_probes(&agent, &["orders-a", "orders-c"]);
    are_gone(&agent, &["orders-b", "far-3"]);
    consul.register("orders", instance("c", 4).with_health("critical"));
    wait_for_probes(&agent, &["orders-a"]);
    are_gone(&agent, &["orders-c", "far-4"]);
    consul.register("orders", instance("c", 4));
    wait_for_probes(&agent, &["orders-a", "orders-c"]);
    let failed = agent.scrape().sum(FAILURES, &[("discovery", "d")]);
    assert_eq!(failed.unwrap_or(0.0), 0.0, "nothing has failed yet");

    on(&runtime, consul.server.stop());
    let known = outlives(&agent, "unreachable", &["orders-a", "orders-c"]);
    // What happened meanwhile counts when somebody can tell it.
    consul.deregister("orders", "c");
    consul.register("orders", instance("b", 3));
    on(&runtime, consul.server.restart()).unwrap();
    wait_for_probes(&agent, &["orders-a", "orders-b"]);
    is_back(&agent, known);
    are_gone(&agent, &["orders-c"]);
    assert_eq!(peers[0].connections(), 1, "who stays keeps its connection");
}

#[test]
fn endpoints_of_kubernetes_come_and_go_and_outlive_its_death() {
    let (site, runtime) = (Site::new(), runtime());
    let ips = [2, 3, 4].map(|host| site.loopback.ip(host).to_string());
    let [first, second, third] = ips.each_ref().map(String::as_str);
    let peers = [2, 3, 4].map(|host| Peer::healthy(site.loopback.at(host, PORT)));
    let registry = site.loopback.at(REGISTRY.0, REGISTRY.1);
    let mut kubernetes = on(&runtime, KubernetesDouble::start(registry, None)).unwrap();
    let slice =
        |addresses: &[&str]| SliceSpec::new("orders-1", "orders", PORT, addresses).label("tier", "back");
    kubernetes.apply(slice(&[first, second]).unready(third));
    kubernetes.apply(SliceSpec::new("other-1", "other", PORT, &[third]));
    let source = format!(
        "kubernetes = {{ address = \"{registry}\", namespaces = [\"shop\"], services = [\"orders\"], port = \"grpc\" }}"
    );
    let template = "name = \"{meta.kubernetes.pod}\"\nwhere = [\"meta.kubernetes.label.tier = back\"]";
    let config = config(&source, template);
    let agent = site.start(&config.edited("target = \"far\"", "target = \"{meta.kubernetes.zone}\""));
    let pods = ips.each_ref().map(|ip| format!("pod-{ip}"));
    let [a, b, c] = pods.each_ref().map(String::as_str);
    wait_for_probes(&agent, &[a, b]);
    let zones = agent.scrape();
    assert!(
        zones
            .samples("insight_probe_results_total", &[])
            .all(|sample| sample.labels["target"] == "eu-west-2a")
    );

    // It becomes ready.
    kubernetes.apply(slice(&[first, second, third]));
    wait_for_probes(&agent, &[a, b, c]);
    kubernetes.apply(slice(&[first, third]));
    wait_for_probes(&agent, &[a, c]);
    are_gone(&agent, &[b]);
    // A watch that ends goes on, and is no failure.
    kubernetes.end_watches();
    kubernetes.apply(slice(&[first, second]).unready(third));
    wait_for_probes(&agent, &[a, b]);
    are_gone(&agent, &[c]);
    assert_eq!(of_d(&agent, "insight_discovery_up"), Some(1.0));

    on(&runtime, kubernetes.server.stop());
    let known = outlives(&agent, "unreachable", &[a, b]);
    // What it kept of before is not enough to go on from, so it is listed anew.
    kubernetes.apply(slice(&[first, third]));
    kubernetes.compact(false);
    on(&runtime, kubernetes.server.restart()).unwrap();
    wait_for_probes(&agent, &[a, c]);
    is_back(&agent, known);
    are_gone(&agent, &[b]);
    assert_eq!(peers[0].connections(), 1, "who stays keeps its connection");
}

#[test]
fn agents_of_pods_become_nodes_and_go_with_them() {
    let (site, hop, runtime) = (Site::new(), Site::new(), runtime());
    let registry = site.loopback.at(REGISTRY.0, REGISTRY.1);
    let mut kubernetes = on(&runtime, KubernetesDouble::start(registry, None)).unwrap();
    let ip = hop.grpc().ip().to_string();
    for site in [&site, &hop] {
        let token = site.write("token", "s3cret\n");
        fs::set_permissions(token, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let node = format!("pod-{ip}");
    let _hop = hop.start(&Config::new().named(&node).grpc("token_file = \"token\""));
    // The slice has the port of the service beside it.
    let service = |addresses: &[&str]| SliceSpec::new("hops-1", "hops", PORT, addresses);
    kubernetes.apply(service(&[&ip]));
    let agent = site.start(&Config::new().tables(&format!(
        "[[discovery]]\nname = \"d\"\nkubernetes = {{ address = \"{registry}\", services = [\"hops\"], port = \"{}\" }}\n\
         [[node]]\ndiscovery = \"d\"\nname = \"{{meta.kubernetes.pod}}\"\ntoken_file = \"token\"\n\
         where = [\"meta.kubernetes.namespace = shop\"]",
        hop.grpc().port()
    )));
    let reports = |state: &str| {
        agent.wait_for(&format!("the report of {node} {state}"), |seen| {
            let of = [("node", node.as_str()), ("measurement", "report"), ("state", state)];
            let mut found = seen.samples("insight_measurement_state", &of);
            found.any(|sample| sample.value == 1.0).then_some(())
        });
    };
    reports("active");
    assert_eq!((status(&agent)["nodes"].clone(), status(&agent)["probes"].clone()), (1.into(), 0.into()));

    on(&runtime, kubernetes.server.stop());
    wait_for_up(&agent, 0.0);
    reports("active");
    on(&runtime, kubernetes.server.restart()).unwrap();
    wait_for_up(&agent, 1.0);
    reports("active");

    kubernetes.delete("shop", "hops-1");
    wait_until("the node to be gone", PATIENCE, || {
        let page = agent.metrics_text();
        let left: Vec<_> = page.lines().filter(|line| line.contains(&node)).collect();
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
    wait_until("the status to say so", Duration::from_secs(5), || {
        let told = status(&agent);
        if told["nodes"] == 0 && told["endpoints"] == 0 { Ok(()) } else { Err(told.to_string()) }
    });
}
