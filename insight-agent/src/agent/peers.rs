//! Peer groups by name: which addresses do their hosts have now?
//!
//! A thread of its own asks the resolver, which can block for as long as it likes, and is never waited
//! for. An address counts for [`KEPT_FOR`] after it was last told, since resolvers tell a part of many; and
//! for as long as nothing can be told.

use super::privileges;
use crate::collect::kernel::settings::PeerGroup;
use crate::config;
use crate::model::series::lost::Loss;
use crate::publish::metrics::Metrics;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Between two questions about the same host: resolvers keep answers for about as long.
const EVERY: Duration = Duration::from_secs(30);

/// How long an address counts that is told no more, at least.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// How long a start waits for the first answers. Connections that open before are of nobody.
const FIRST_WITHIN: Duration = Duration::from_secs(2);

/// Addresses of one host. Its group's rules are one for each and each port, of 4,096 in all.
const MOST: usize = 256;

/// What a host has been told to have.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Told {
    /// When each address was told last.
    addresses: BTreeMap<IpAddr, Instant>,
    /// It has been asked for, with or without success.
    is_asked: bool,
}

impl Told {
    /// Takes an answer in. Gives how many addresses had no room. **`answer`** is `None` where there was none.
    fn take(&mut self, answer: Option<BTreeSet<IpAddr>>, now: Instant) -> usize {
        self.is_asked = true;
        let Some(answer) = answer else { return 0 };
        self.addresses
            .retain(|address, told| answer.contains(address) || now.duration_since(*told) < KEPT_FOR);
        let mut surplus = 0;
        for address in answer {
            if self.addresses.len() < MOST || self.addresses.contains_key(&address) {
                self.addresses.insert(address, now);
            } else {
                surplus += 1;
            }
        }
        surplus
    }
}

/// What all hosts have been told to have.
#[derive(Debug, Default)]
struct Known {
    hosts: Mutex<BTreeMap<String, Told>>,
    changed: Condvar,
}

/// The hosts of all peer groups, which are asked for as long as this lives.
#[derive(Debug)]
pub(super) struct Hosts(Arc<Known>);

impl Hosts {
    /// Begins to ask, and waits a moment for the first answers. **None**: no group has a host.
    ///
    /// # Errors
    /// The system refused a thread.
    pub(super) fn start(peers: &[config::Peer], metrics: &Arc<Metrics>) -> std::io::Result<Option<Self>> {
        let named = peers.iter().flat_map(|peer| &peer.hosts);
        let hosts: BTreeMap<_, _> = named.map(|host| (host.clone(), Told::default())).collect();
        if hosts.is_empty() {
            return Ok(None);
        }
        let known = Arc::new(Known { hosts: Mutex::new(hosts), changed: Condvar::new() });
        let (watched, metrics) = (Arc::downgrade(&known), Arc::clone(metrics));
        std::thread::Builder::new().name("peer hosts".to_owned()).spawn(move || ask(&watched, &metrics))?;
        let waiting = |hosts: &mut BTreeMap<String, Told>| hosts.values().any(|told| !told.is_asked);
        let held = known.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        // Later answers count from then on.
        drop(known.changed.wait_timeout_while(held, FIRST_WITHIN, waiting));
        Ok(Some(Self(known)))
    }

    /// Adds what the hosts of `peers` have now to the networks of `groups`, which are in the same order.
    pub(super) fn add_to(&self, peers: &[config::Peer], groups: &mut [PeerGroup]) {
        let hosts = self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        for (peer, group) in peers.iter().zip(groups) {
            let addresses = peer.hosts.iter().filter_map(|host| hosts.get(host));
            let single = |address: &IpAddr| (*address, if address.is_ipv4() { 32 } else { 128 });
            group.networks.extend(addresses.flat_map(|told| told.addresses.keys().map(single)));
        }
    }
}

/// Asks for every host, again and again, until nobody is interested any more.
fn ask(known: &Weak<Known>, metrics: &Metrics) {
    // The thread that started this one loads programs.
    privileges::keep_none();
    let names: Vec<String> = {
        let Some(known) = known.upgrade() else { return };
        let hosts = known.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.keys().cloned().collect()
    };
    let mut failing = BTreeSet::new();
    loop {
        for host in &names {
            let answer = look_up(host);
            let Some(known) = known.upgrade() else { return };
            match &answer {
                Ok(_) => {
                    if failing.remove(host) {
                        tracing::info!("kernel.peer: {host} can be looked up again");
                    }
                }
                Err(error) => {
                    metrics.peer_lookup_failed();
                    if failing.insert(host.clone()) {
                        tracing::warn!(
                            "kernel.peer: look up {host}: {error}: what it had before still counts"
                        );
                    }
                }
            }
            let mut hosts = known.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let surplus = hosts.get_mut(host).map_or(0, |told| told.take(answer.ok(), Instant::now()));
            drop(hosts);
            known.changed.notify_all();
            if surplus > 0 {
                metrics.lost("sockets", Loss::Capped, surplus as u64);
            }
        }
        std::thread::sleep(EVERY);
    }
}

/// The addresses of a host, by the system's resolver. Blocks.
fn look_up(host: &str) -> std::io::Result<BTreeSet<IpAddr>> {
    let found: BTreeSet<_> =
        (host, 0).to_socket_addrs()?.map(|address| address.ip().to_canonical()).collect();
    if found.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "no addresses"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(addresses: &[&str]) -> Option<BTreeSet<IpAddr>> {
        Some(addresses.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn an_address_counts_until_it_has_not_been_told_for_long() {
        let (mut told, start) = (Told::default(), Instant::now());
        told.take(answer(&["10.0.0.1", "::1"]), start);
        told.take(answer(&["10.0.0.2"]), start + KEPT_FOR / 2);
        assert_eq!(told.addresses.len(), 3, "the first answer still counts");
        told.take(None, start + KEPT_FOR * 2);
        assert_eq!(told.addresses.len(), 3, "a failure takes nothing away");
        told.take(answer(&["10.0.0.2"]), start + KEPT_FOR);
        assert_eq!(told.addresses.keys().next(), Some(&"10.0.0.2".parse().unwrap()));
        assert_eq!(told.addresses.len(), 1);
    }

    #[test]
    fn addresses_without_room_are_counted_and_known_ones_stay() {
        let mut told = Told::default();
        let many: BTreeSet<IpAddr> =
            (0..=MOST as u32).map(|n| IpAddr::V4((0x0a00_0000 + n).into())).collect();
        assert_eq!(told.take(Some(many.clone()), Instant::now()), 1);
        assert_eq!(told.take(Some(many), Instant::now()), 1);
        assert_eq!(told.addresses.len(), MOST);
    }

    #[test]
    fn a_groups_networks_are_its_own_and_those_of_its_hosts() {
        let network: (IpAddr, u8) = ("10.0.0.0".parse().unwrap(), 8);
        let peer = |name: &str, hosts: &[&str]| config::Peer {
            name: name.to_owned(),
            networks: vec![network],
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ports: vec![],
        };
        let mut told = Told::default();
        told.take(answer(&["192.0.2.1", "2001:db8::1"]), Instant::now());
        let known = Known { hosts: Mutex::new([("b".to_owned(), told)].into()), changed: Condvar::new() };
        let mut groups = [(); 2].map(|()| PeerGroup { networks: vec![network], ..PeerGroup::default() });
        Hosts(Arc::new(known)).add_to(&[peer("a", &[]), peer("b", &["b", "c"])], &mut groups);
        assert_eq!(groups[0].networks, [network]);
        let added = [("192.0.2.1".parse().unwrap(), 32), ("2001:db8::1".parse().unwrap(), 128)];
        assert_eq!(groups[1].networks, [[network].as_slice(), &added].concat());
    }

    #[test]
    fn the_systems_resolver_is_asked() {
        assert!(look_up("localhost").unwrap().iter().any(IpAddr::is_loopback));
        assert!(look_up("no-such-host.invalid").is_err());
    }
}
