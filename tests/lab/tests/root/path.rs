//! The whole path in namespaces: every forwarder carries calls, and every node is in its place.

use crate::{options, root_lab, start, wait_until};
use insight_lab::call::{Caller, HEALTH_CHECK, Reply};
use insight_lab::skip::{SkipReason, skip};
use insight_lab::{Fault, Forwarder, Lab, haproxy_available, inside, nginx_available};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// One call along the path, from inside insight-eu's namespace.
pub fn call_from_eu(lab: &Lab) -> anyhow::Result<Reply> {
    let target = lab.addresses().mediary_a;
    let call = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let metadata = [("x-target-region", "sg"), ("x-target-service", "business")];
        runtime.block_on(Caller::new(target, 1).call(HEALTH_CHECK, &metadata, Duration::from_secs(10)))
    };
    inside(&lab.place("insight-eu").unwrap().netns_path, call)?
}

fn a_call_from_eu_passes_every_hop(test: &str, forwarder: Forwarder) {
    if !root_lab(test) {
        return;
    }
    if forwarder == Forwarder::Nginx && nginx_available().is_none()
        || forwarder != Forwarder::Embedded && haproxy_available().is_none()
    {
        return skip(
            test,
            SkipReason::Missing("nginx or haproxy is not installed (apt-get install nginx haproxy)"),
        );
    }
    let mut options = options();
    options.forwarder = forwarder;
    let mut lab = start(options);
    let reply = call_from_eu(&lab).unwrap();
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    let hops: Vec<String> =
        reply.hops().iter().map(|hop| hop.split(';').next().unwrap().to_owned()).collect();
    assert_eq!(hops, ["gateway-b", "mediary-b", "mediary-a"], "the innermost hop comes first");
    // One handshake and one exchange over 20 ms.
    assert!(reply.total >= Duration::from_millis(40), "{:?}", reply.total);

    // Control reaches the gateway in its namespace, and a node comes back to its place.
    lab.inject(&Fault::GatewaySlow(Duration::from_millis(300))).unwrap();
    assert!(call_from_eu(&lab).unwrap().total >= Duration::from_millis(300));
    lab.inject(&Fault::MediaryADown).unwrap();
    assert!(call_from_eu(&lab).is_err());
    lab.clear(&Fault::MediaryADown).unwrap();
    assert_eq!(call_from_eu(&lab).unwrap().grpc_status(), Some(0));
    lab.restart("wan").unwrap();
    wait_until("calls pass again after a new start of the link", || {
        call_from_eu(&lab).is_ok_and(|reply| reply.grpc_status() == Some(0))
    });
    lab.stop().unwrap();
}

#[test]
fn embedded_hops_carry_a_call_from_eu() {
    a_call_from_eu_passes_every_hop("path::embedded_hops_carry_a_call_from_eu", Forwarder::Embedded);
}

#[test]
fn nginx_hops_carry_a_call_from_eu() {
    a_call_from_eu_passes_every_hop("path::nginx_hops_carry_a_call_from_eu", Forwarder::Nginx);
}

#[test]
fn haproxy_hops_carry_a_call_from_eu() {
    a_call_from_eu_passes_every_hop("path::haproxy_hops_carry_a_call_from_eu", Forwarder::Haproxy);
}

/// The value of a line such as `Cpus_allowed_list:\t0` in `/proc/PID/status`.
fn status_field(pid: i32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{key} is not in {status}")).trim().to_owned()
}

/// What a process finds in `/sys/class/net`, as far as it can read it.
fn devices_seen_by(pid: i32) -> BTreeSet<&'static str> {
    let known = ["eth0", "ifb0", "lo", "mgmt0", "wan0"];
    let readable =
        |device: &&str| fs::read(format!("/proc/{pid}/root/sys/class/net/{device}/ifindex")).is_ok();
    let seen: BTreeSet<_> = known.into_iter().filter(readable).collect();
    let listed = fs::read_dir(format!("/proc/{pid}/root/sys/class/net")).unwrap().count();
    assert_eq!(listed, seen.len(), "devices of another namespace are listed");
    seen
}

#[test]
fn every_process_is_in_the_namespace_the_groups_and_on_the_cpus_of_its_node() {
    if !root_lab("path::every_process_is_in_the_namespace_the_groups_and_on_the_cpus_of_its_node") {
        return;
    }
    let mut options = options();
    options.background_rps = 20.0;
    let lab = start(options);
    let nodes = lab.nodes();
    assert_eq!(nodes.len(), 7, "{nodes:?}");
    for node in &nodes {
        let (pid, place) = (node.pid.unwrap(), node.place.as_ref().unwrap());
        let netns = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        assert_eq!(netns.to_str().unwrap(), format!("net:[{}]", place.netns_inum), "{}", node.name);
        for group in [&place.cgroup2, &place.cpu_cgroup] {
            let members = fs::read_to_string(group.join("cgroup.procs")).unwrap();
            assert!(members.lines().any(|member| member == pid.to_string()), "{} in {group:?}", node.name);
        }
        let cpus: Vec<String> = place.cpus.iter().map(ToString::to_string).collect();
        if let [only] = &cpus[..] {
            assert_eq!(&status_field(pid, "Cpus_allowed_list"), only, "{}", node.name);
        }
        assert_eq!(lab.place(&node.name), Some(place));
        let mut devices = vec!["lo", "mgmt0"];
        devices.extend((node.name != "wan").then_some("eth0"));
        devices.extend(node.name.starts_with("mediary").then_some("wan0"));
        assert_eq!(devices_seen_by(pid), devices.into_iter().collect(), "{}", node.name);
        let group = PathBuf::from(format!("/proc/{pid}/root{}", place.cgroup2.display()));
        assert!(group.join("cgroup.procs").exists(), "{} no longer sees its group", node.name);
    }
    let own = |name: &str| nodes.iter().find(|n| n.name == name).unwrap().place.clone().unwrap();
    if std::thread::available_parallelism().unwrap().get() > 1 {
        assert!(own("mediary-a").cpus.iter().all(|cpu| !own("mediary-b").cpus.contains(cpu)));
    }
    assert!(lab.place("nobody").is_none());
    assert!(lab.agent("insight-eu").is_none(), "this lab has no agents");
}

#[test]
fn packets_are_steered_to_the_cpus_of_their_node() {
    if !root_lab("path::packets_are_steered_to_the_cpus_of_their_node") {
        return;
    }
    let lab = start(options());
    for (node, devices) in [
        ("mediary-a", &["eth0", "mgmt0", "wan0"][..]),
        ("mediary-b", &["eth0", "wan0"]),
        ("service-b", &["eth0"]),
    ] {
        let place = lab.place(node).unwrap();
        for device in devices {
            // `ip netns exec` mounts the namespace's own /sys.
            let file = format!("/sys/class/net/{device}/queues/rx-0/rps_cpus");
            let read =
                Command::new("ip").args(["netns", "exec", &place.netns, "cat", &file]).output().unwrap();
            let mask = String::from_utf8(read.stdout).unwrap();
            let mask = u64::from_str_radix(&mask.trim().replace(',', ""), 16).unwrap();
            let expected = place.cpus.iter().fold(0, |mask, cpu| mask | 1_u64 << cpu);
            assert_eq!(mask, expected, "{device} of {node}");
        }
    }
}
