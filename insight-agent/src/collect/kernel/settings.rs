//! What to measure, and for whom.

use insight_common::kernel::layout::MAX_FORWARDERS;
use insight_common::kernel::loss::Measurement;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Everything that is decided before loading.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which measurements shall run.
    pub measurements: Vec<Measurement>,
    /// Whose sockets.
    pub scope: Scope,
    /// Named groups of addresses; group 0 is everybody else. **Length**: at most 63.
    pub peers: Vec<PeerGroup>,
    /// Who forwards. **None**: nothing here does. With forwarders, even if none is running yet, their sockets are
    /// told apart, and receive wait counts reads by their processes only.
    pub forwarders: Option<Forwarders>,
    /// Devices whose queues are measured; the first is group 1. **Length**: at most 16.
    pub devices: Vec<Device>,
    /// Exchanges of a new connection to leave out: 1 for SETTINGS, 2 where TLS comes first.
    pub skip_exchanges: u16,
    /// One in so many connections is measured in full; the first 16 of each role and peer group always.
    /// 1: all.
    pub sample_one_in: u32,
    /// Whether sizes of HTTP/2 housekeeping are no request, no answer and no wait.
    pub http2: bool,
}

impl Default for Settings {
    /// All measurements, of the whole host, with nobody told apart.
    fn default() -> Self {
        Self {
            measurements: Measurement::ALL[1..].to_vec(),
            scope: Scope::default(),
            peers: Vec::new(),
            forwarders: None,
            devices: Vec::new(),
            skip_exchanges: 1,
            sample_one_in: 1,
            http2: true,
        }
    }
}

/// The forwarders of a host and their processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarders {
    /// How many there are, running or not. **Range**: 1 to 8; further ones are nobody's.
    pub count: u32,
    /// The number of each process's forwarder, from 1 on, by the process's id in the initial namespace.
    /// **Length**: at most 64.
    pub processes: BTreeMap<u32, u8>,
}

impl Forwarders {
    /// Processes by forwarder, in the order of their numbers. A process of two is the first one's.
    pub fn of(pids: &[Vec<u32>]) -> Self {
        let mut processes = BTreeMap::new();
        for (at, pids) in pids.iter().take(MAX_FORWARDERS as usize).enumerate() {
            for pid in pids {
                processes.entry(*pid).or_insert(at as u8 + 1);
            }
        }
        Self { count: (pids.len() as u32).min(MAX_FORWARDERS), processes }
    }

    /// One forwarder.
    pub fn one(pids: &[u32]) -> Self {
        Self::of(&[pids.to_vec()])
    }
}

/// Which sockets are this agent's business. Both conditions hold together.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Network namespaces by inode number. **Empty**: all. **Length**: at most 64.
    pub namespaces: Vec<u32>,
    /// Where those namespaces can be entered, to find the sockets that are open in them already.
    /// **Empty**: only the own one is searched for such sockets.
    pub namespace_paths: Vec<PathBuf>,
    /// A folder of the cgroup2 file system. **None**: all of it.
    pub cgroup: Option<PathBuf>,
}

/// A named group of addresses.
#[derive(Debug, Clone, Default)]
pub struct PeerGroup {
    /// The label's value.
    pub name: String,
    /// Networks: address and length of the prefix, of the address's own family.
    pub networks: Vec<(IpAddr, u8)>,
    /// Ports of the service: the remote one where this side connects, the local one where it
    /// accepts. **Empty**: all.
    pub ports: Vec<u16>,
}

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name, and the label's value.
    pub name: String,
    /// Its network namespace by inode number, and its index there. **None**: there is no such device.
    pub place: Option<(u32, u32)>,
}

impl Device {
    /// The device of this name in the calling thread's network namespace, as it is now: one that is
    /// made anew later has another index.
    pub fn find(name: &str) -> Self {
        let namespace = std::fs::metadata("/proc/thread-self/ns/net").map(|metadata| metadata.ino() as u32);
        let index = nix::net::if_::if_nametoindex(name);
        Self { name: name.to_owned(), place: namespace.ok().zip(index.ok()) }
    }
}

/// What to say where none of `devices` is there.
pub fn nowhere(devices: &[Device]) -> String {
    if devices.is_empty() {
        return "a device: name some in kernel.devices".to_owned();
    }
    let names: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
    format!("{}: no such device in this network namespace: correct kernel.devices", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_two_forwarders_is_the_first_ones_and_a_ninth_forwarder_is_nobody() {
        let all = Forwarders::of(&[vec![7, 8], vec![8, 9]]);
        assert_eq!(all, Forwarders { count: 2, processes: BTreeMap::from([(7, 1), (8, 1), (9, 2)]) });
        let many = Forwarders::of(&vec![vec![1]; 9]);
        assert_eq!((many.count, many.processes.len()), (8, 1));
    }

    #[test]
    fn a_device_is_found_by_name_or_has_no_place() {
        let (namespace, index) = Device::find("lo").place.unwrap();
        assert!(namespace > 0 && index > 0);
        let gone = Device::find("no-such-device");
        assert_eq!(gone.place, None);
        assert!(nowhere(&[gone]).starts_with("no-such-device: no such device"));
        assert!(nowhere(&[]).contains("kernel.devices"));
    }
}
