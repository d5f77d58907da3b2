//! Peer groups as the kernel looks them up: port, then address, longest prefix first.

use super::settings::PeerGroup;
use aya::Ebpf;
use aya::maps::MapError;
use aya::maps::lpm_trie::{Key, LpmTrie};
use insight_common::kernel::layout::{MAX_PEERS, PEER_KEY_BYTES};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Bits of the port, which always count.
const PORT_BITS: u32 = 16;

/// Bits that come before an IPv4 address where it is written as an IPv6 one.
const MAPPED_BITS: u32 = 96;

/// One key per network and port; port 0 stands for all.
pub fn keys(group: &PeerGroup) -> impl Iterator<Item = Key<[u8; PEER_KEY_BYTES]>> + '_ {
    let ports = if group.ports.is_empty() { &[0][..] } else { &group.ports };
    group.networks.iter().flat_map(move |(address, prefix)| {
        ports.iter().map(move |port| {
            let (octets, bits) = match address {
                IpAddr::V4(v4) => (v4.to_ipv6_mapped().octets(), MAPPED_BITS + u32::from(*prefix).min(32)),
                IpAddr::V6(v6) => (v6.octets(), u32::from(*prefix).min(128)),
            };
            let mut data = [0; PEER_KEY_BYTES];
            data[..2].copy_from_slice(&port.to_be_bytes());
            data[2..].copy_from_slice(&octets);
            Key::new(PORT_BITS + bits, data)
        })
    })
}

/// What the programs look peers up in, as it is in the kernel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rules(BTreeMap<(u32, [u8; PEER_KEY_BYTES]), u8>);

impl Rules {
    /// Those of `groups`; where two have the same network and port, the last one has it.
    pub(super) fn of(groups: &[PeerGroup]) -> Self {
        let groups = groups.iter().take(MAX_PEERS as usize - 1).enumerate();
        let rules = groups.flat_map(|(group, peer)| {
            keys(peer).map(move |key| ((key.prefix_len(), key.data()), group as u8 + 1))
        });
        Self(rules.collect())
    }

    /// Makes the kernel's rules those of `groups`. Connections that are open stay in the group that they
    /// were in when they opened.
    ///
    /// # Errors
    /// There are more than the map holds (4,096); those that fit count.
    pub(super) fn set(&mut self, ebpf: &mut Ebpf, groups: &[PeerGroup]) -> Result<(), MapError> {
        let absent = || MapError::InvalidName { name: "PEER_RULES".to_owned() };
        let mut map: LpmTrie<_, _, u8> = LpmTrie::try_from(ebpf.map_mut("PEER_RULES").ok_or_else(absent)?)?;
        let Self(wanted) = Self::of(groups);
        let key = |(bits, data): (u32, [u8; PEER_KEY_BYTES])| Key::new(bits, data);
        let gone: Vec<_> = self.0.keys().filter(|rule| !wanted.contains_key(*rule)).copied().collect();
        for rule in gone {
            map.remove(&key(rule))?;
            self.0.remove(&rule);
        }
        let mut full = Ok(());
        for (rule, group) in wanted {
            if self.0.get(&rule) != Some(&group) {
                match map.insert(&key(rule), group, 0) {
                    Ok(()) => drop(self.0.insert(rule, group)),
                    Err(error) => full = full.and(Err(error)),
                }
            }
        }
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(networks: &[(&str, u8)], ports: &[u16]) -> PeerGroup {
        let networks = networks.iter().map(|(address, prefix)| (address.parse().unwrap(), *prefix)).collect();
        PeerGroup { name: "sg".into(), networks, ports: ports.to_vec() }
    }

    #[test]
    fn of_two_groups_with_the_same_network_the_last_one_has_it() {
        let groups = [group(&[("10.0.0.0", 8)], &[]), group(&[("10.0.0.0", 8), ("::1", 128)], &[])];
        let Rules(rules) = Rules::of(&groups);
        assert_eq!(rules.into_values().collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn an_ipv4_network_is_a_mapped_one_behind_its_port() {
        let keys: Vec<_> = keys(&group(&[("10.1.0.0", 16)], &[443])).collect();
        assert_eq!((keys.len(), keys[0].prefix_len()), (1, 16 + 96 + 16));
        let data = keys[0].data();
        assert_eq!(data[..2], [0x01, 0xbb]);
        assert_eq!(data[12..], [0xff, 0xff, 10, 1, 0, 0]);
    }

    #[test]
    fn without_ports_every_port_is_meant_and_each_network_counts() {
        let keys: Vec<_> = keys(&group(&[("::1", 128), ("10.0.0.0", 8)], &[])).collect();
        assert_eq!(keys.len(), 2);
        assert!(keys.iter().all(|key| key.data()[..2] == [0, 0]));
        assert_eq!(keys[0].prefix_len(), 144);
        assert_eq!(super::keys(&group(&[("::1", 128)], &[1, 2])).count(), 2);
    }
}
