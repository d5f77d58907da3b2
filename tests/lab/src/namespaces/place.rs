//! Where one node is, for those who look at it from outside; and all places of a run.

use super::cgroup::Mounts;
use super::host::ip;
use super::names::{RunName, netns_path};
use super::network;
use super::plan::{self, SEATS};
use super::sweep::{left_of, remove};
use crate::harness::record::Identity;
use crate::topology::Topology;
use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::{Pid, geteuid};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The namespace, the control groups and the CPUs of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlace {
    /// The network namespace's name, as `ip netns` knows it.
    pub netns: String,
    /// The file that stands for it; [`inside`](super::inside) takes it.
    pub netns_path: PathBuf,
    /// Its inode number: what eBPF programs see as `net.ns.inum`.
    pub netns_inum: u64,
    /// The group in the cgroup2 tree, where eBPF programs attach.
    pub cgroup2: PathBuf,
    /// The group of the cpu controller; on machines of version 2 the same as `cgroup2`.
    pub cpu_cgroup: PathBuf,
    /// The CPUs that its processes and its packets are confined to, in ascending order.
    pub cpus: Vec<usize>,
}

/// Everything that a run made outside its folder. Dropping removes it.
pub(crate) struct Places {
    run: RunName,
    mounts: Mounts,
    nodes: Vec<(&'static str, NodePlace)>,
}

impl Places {
    /// Makes the namespaces, links and groups of the run that `owner` starts.
    ///
    /// # Errors
    /// Not root, or something is missing or refused; nothing stays behind.
    pub fn create(owner: Identity, subnet: u8) -> Result<Places> {
        ensure!(
            geteuid().is_root(),
            "isolation namespaces: needs root; run as root, or use isolation loopback"
        );
        let mounts = Mounts::find().context("isolation namespaces")?;
        // From here on Drop cleans up.
        let mut places = Places { run: RunName { owner, subnet }, mounts, nodes: Vec::new() };
        let shares = CpuShares::of_this_process()?;
        let nodes = SEATS.map(|seat| seat.node);
        places.mounts.create(&places.run, &nodes).context("isolation namespaces")?;
        network::create(&places.run, |node| shares.of(node)).context("isolation namespaces")?;
        for node in nodes {
            let place = places.describe(node, shares.of(Some(node)))?;
            places.nodes.push((node, place));
        }
        Ok(places)
    }

    /// Where everything listens in these places.
    pub fn topology(&self, claimed: &Topology) -> Topology {
        plan::apart(claimed)
    }

    /// The place of a node; of `agent@mediary-a` and the like it is the node's.
    pub fn of(&self, node: &str) -> Option<&NodePlace> {
        let home = node.split_once('@').map_or(node, |(_, home)| home);
        self.nodes.iter().find(|(name, _)| *name == home).map(|(_, place)| place)
    }

    /// Every node's place.
    pub fn all(&self) -> Vec<NodePlace> {
        self.nodes.iter().map(|(_, place)| place.clone()).collect()
    }

    /// Limits the CPU time of a node per 100 ms; `None` takes the limit away.
    pub fn limit_cpu(&self, node: &str, quota: Option<Duration>) -> Result<()> {
        let place = self.of(node).with_context(|| format!("no place for {node:?}"))?;
        self.mounts.limit(&place.cpu_cgroup, quota)
    }

    /// Removes everything. Names what is still there after that.
    pub fn remove(&self) -> Vec<String> {
        remove(&self.run, Some(&self.mounts));
        left_of(&self.run, &self.mounts)
    }

    fn describe(&self, node: &str, cpus: Vec<usize>) -> Result<NodePlace> {
        let netns = self.run.netns(node);
        let path = netns_path(&netns);
        let inum = fs::metadata(&path).with_context(|| format!("look at {}", path.display()))?.ino();
        let [cgroup2, cpu_cgroup] =
            [&self.mounts.cgroup2, &self.mounts.cpu].map(|tree| tree.join(self.run.text()).join(node));
        Ok(NodePlace { netns, netns_path: path, netns_inum: inum, cgroup2, cpu_cgroup, cpus })
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Who gets which CPUs: mediary-a, the node that faults starve, one of its own; the others the
/// rest. With a single CPU all share it.
struct CpuShares {
    mediary_a: Vec<usize>,
    rest: Vec<usize>,
}

impl CpuShares {
    fn of_this_process() -> Result<CpuShares> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("read the CPUs of this process")?;
        let cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect();
        Ok(CpuShares::split(cpus))
    }

    fn split(mut cpus: Vec<usize>) -> CpuShares {
        match cpus.pop() {
            Some(last) if !cpus.is_empty() => CpuShares { mediary_a: vec![last], rest: cpus },
            only => CpuShares { mediary_a: only.into_iter().collect(), rest: only.into_iter().collect() },
        }
    }

    fn of(&self, node: Option<&str>) -> Vec<usize> {
        if node == Some("mediary-a") { self.mediary_a.clone() } else { self.rest.clone() }
    }
}

/// Whether this machine lets this process start a lab with
/// [`Isolation::Namespaces`](crate::Isolation::Namespaces): it makes a namespace with each kind
/// of device, and removes it.
///
/// # Errors
/// Why not, as one line for people.
pub fn namespaces_available() -> Result<(), String> {
    try_namespaces().map_err(|error| format!("{error:#}"))
}

fn try_namespaces() -> Result<()> {
    static TRIALS: AtomicU32 = AtomicU32::new(0);
    ensure!(geteuid().is_root(), "namespaces need root");
    Mounts::find()?;
    // Subnet 0 belongs to no run; the number tells trials of this process apart.
    let trial = TRIALS.fetch_add(1, Ordering::Relaxed);
    let run = RunName { owner: Identity::own()?, subnet: 0 };
    let netns = run.netns(&format!("trial{trial}"));
    let tried = ip(&["netns", "add", &netns])
        .and_then(|()| ip(&["-netns", &netns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"]))
        .and_then(|()| ip(&["-netns", &netns, "link", "add", "br0", "type", "bridge"]))
        .and_then(|()| ip(&["-netns", &netns, "tuntap", "add", "dev", "wan0", "mode", "tun"]));
    if netns_path(&netns).exists() {
        ip(&["netns", "del", &netns])?;
    }
    tried
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mediary_has_a_cpu_of_its_own_where_there_are_two() {
        let two = CpuShares::split(vec![0, 1]);
        assert_eq!((two.of(Some("mediary-a")), two.of(Some("mediary-b"))), (vec![1], vec![0]));
        let four = CpuShares::split(vec![2, 3, 5, 7]);
        assert_eq!((four.of(Some("mediary-a")), four.of(None)), (vec![7], vec![2, 3, 5]));
        let one = CpuShares::split(vec![4]);
        assert_eq!((one.of(Some("mediary-a")), one.of(None)), (vec![4], vec![4]));
    }
}
