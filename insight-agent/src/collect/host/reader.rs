//! One reading of the host: everything that is wanted, in one snapshot.

use super::cpu::SteadyCpus;
use super::forwarders::Forwarders;
use super::root::{Root, Source};
use super::{conntrack, devices, load, memory, netstat, pressure, sockstat, softnet, stat, uname};
use crate::model::host::{CpuTimes, HostSnapshot, NodeSnapshot, Selector};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What to read, and how often that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// Which processes are forwarders; a process counts for the first that matches it.
    pub selectors: Vec<Selector>,
    /// Whether the `node_*` part is read.
    pub node_metrics: bool,
    /// The time between two readings, for the judgement of a snapshot's age.
    pub period: Duration,
}

/// Reads the host again and again, and keeps what a counter needs in order not to fall.
#[derive(Debug)]
pub struct HostReader {
    root: Root,
    node_metrics: bool,
    period: Duration,
    cpus: SteadyCpus,
    /// What the last reading gave of the CPUs.
    last_cpus: Option<BTreeMap<u32, CpuTimes>>,
    forwarders: Forwarders,
    unparsed: u64,
    capped: u64,
}

impl HostReader {
    /// Reads nothing yet.
    pub fn new(root: Root, settings: HostSettings) -> Self {
        Self {
            root,
            node_metrics: settings.node_metrics,
            period: settings.period,
            cpus: SteadyCpus::default(),
            last_cpus: None,
            forwarders: Forwarders::new(settings.selectors),
            unparsed: 0,
            capped: 0,
        }
    }

    /// Reads everything once; `now` becomes the snapshot's time. Blocks: call it on a thread of
    /// its own.
    ///
    /// **Cost**: 1.5 ms for the `node_*` part of a host with 2 CPUs and 4 devices, 62 µs for each
    /// thread of a forwarder (debug build, busy machine).
    pub fn read(&mut self, now: Instant) -> HostSnapshot {
        let source = Source::new(&self.root);
        let stat = source.read("proc/stat", stat::parse);
        let cpus = stat.as_ref().map(|stat| self.cpus.observe(&stat.cpus));
        let node = self.node_metrics.then(|| NodeSnapshot {
            system: stat.map(|stat| stat.system),
            load: source.read("proc/loadavg", load::parse),
            pressure: pressure::read(&source),
            memory: source.read("proc/meminfo", memory::parse),
            devices: devices::read(&source),
            softnet: source.read("proc/net/softnet_stat", softnet::parse),
            netstat: netstat::read(&source),
            sockstat: sockstat::read(&source),
            conntrack: conntrack::read(&source),
            uname: uname::read(&source),
        });
        let both = self.last_cpus.as_ref().zip(cpus.as_ref());
        let (forwarders, capped) = self.forwarders.read(&source, now, both);
        self.last_cpus.clone_from(&cpus);
        self.capped += capped;
        self.unparsed += source.unparsed();
        HostSnapshot {
            taken: now,
            period: self.period,
            cpus,
            node,
            forwarders,
            unparsed: self.unparsed,
            capped: self.capped,
        }
    }
}
