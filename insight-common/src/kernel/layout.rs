//! Layouts of the maps, and the numbers behind roles, peers and distributions.

use super::exchange::Exchange;
use super::measurement::Measurement;
pub use super::measurement::{COUNTERS, Counter, DISTRIBUTIONS, Distribution};
use super::opening::Opening;
use super::recovery::Recovery;
use super::tick::Tick;
use crate::histogram::EXPORT_BUCKETS;

/// Peer groups that can be told apart, the one for everybody else included. Bounds every label.
pub const MAX_PEERS: u32 = 64;

/// Forwarders that can be told apart. Bounds every label.
pub const MAX_FORWARDERS: u32 = 8;

/// Groups of connections that can be told apart: nobody's and each forwarder's, of each peer group.
pub const MAX_GROUPS: u32 = u8::MAX as u32;

/// The forwarder of what belongs to none.
pub const NOBODY: u8 = 0;

/// Devices that can be configured: few enough that they never need more groups than peers may.
pub const MAX_DEVICES: u32 = 16;

/// The peer group of an address that no configured group holds.
pub const PEER_OTHER: u8 = 0;

/// The only group of a figure that is told apart by nothing.
pub const GROUP_WHOLE: u8 = 0;

/// The peer group is not known yet: the socket is still being opened.
pub const PEER_PENDING: u8 = u8::MAX;

/// Banks of histograms. A CPU writes to bank `cpu % banks`; with more CPUs than banks two of them
/// share one, which costs time (atomic additions meet) but no value.
pub const MAX_BANKS: u32 = 16;

/// Words before the buckets of a histogram: its sum.
pub const HISTOGRAM_HEAD: usize = 1;

/// 64-bit words of one histogram in the map: the sum in nanoseconds, then the buckets, whose sum is the
/// count. A duration of 0 adds 1 to the sum: while it is 0, nothing was counted.
pub const HISTOGRAM_WORDS: usize = HISTOGRAM_HEAD + EXPORT_BUCKETS;

/// One histogram in the map.
pub type HistogramWords = [u64; HISTOGRAM_WORDS];

/// Bytes of a peer rule's key: port (network order), then the IPv6 or IPv4-mapped address.
pub const PEER_KEY_BYTES: usize = 18;

/// The role of a socket that waits for connections: no [`Role`], for it has no peer and no bytes.
pub const LISTENER: u8 = 3;

/// A network device's key: the number of its network namespace's inode, then its index, which is of
/// that namespace only.
#[inline(always)]
pub const fn device_key(namespace: u32, index: u32) -> u64 {
    (namespace as u64) << 32 | index as u64
}

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// This side called `connect`.
    Connected = 1,
    /// This side accepted it.
    Accepted = 2,
}

impl Role {
    /// Every role, in the order of its distributions.
    pub const ALL: [Self; 2] = [Self::Connected, Self::Accepted];

    /// The index of its counter among those of [`SEEDED_COUNTERS`].
    #[inline(always)]
    pub const fn seeded(self) -> u32 {
        self as u32 - 1
    }

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Accepted => "accepted",
        }
    }

    /// The role that a socket's entry holds. **None**: it holds none.
    #[inline(always)]
    pub const fn of(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Connected),
            2 => Some(Self::Accepted),
            _ => None,
        }
    }
}

/// Whose connections, and with whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// A peer group. Of figures that are told apart by devices: the device.
    pub peer: u8,
    /// A forwarder, or [`NOBODY`].
    pub forwarder: u8,
}

impl Group {
    /// The last one in order.
    pub const LAST: Self = Self { peer: u8::MAX, forwarder: u8::MAX };

    /// Of nobody's connections.
    pub const fn of_peer(peer: u8) -> Self {
        Self { peer, forwarder: NOBODY }
    }

    /// Its number among those of `peers` peer groups, which the maps go by. One that is out of range has none
    /// of theirs, or another one's.
    #[inline(always)]
    pub const fn number(self, peers: u32) -> u8 {
        (self.forwarder as u32 * peers + self.peer as u32) as u8
    }

    /// The group with this number.
    pub const fn numbered(number: u8, peers: u32) -> Self {
        let peers = if peers == 0 { 1 } else { peers };
        Self { peer: (number as u32 % peers) as u8, forwarder: (number as u32 / peers) as u8 }
    }
}

/// What a figure is told apart by: what the groups stand for that it is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Groups {
    /// By whose connection it is, and who is at its other end.
    Peers,
    /// By the forwarder: group `n` is the `n`-th, from 1 on.
    Forwarders,
    /// By the configured device: group `n` is the `n`-th, from 1 on.
    Devices,
    /// By nothing: it belongs to no connection, and only group 0 is used.
    Whole,
}

impl Distribution {
    /// What its groups stand for.
    pub const fn groups(self) -> Groups {
        match self.measurement() {
            Measurement::RunqueueWait => Groups::Forwarders,
            Measurement::SoftirqWait => Groups::Whole,
            Measurement::QdiscWait => Groups::Devices,
            _ => Groups::Peers,
        }
    }
}

/// Places in the table of [`Rows`]: as many as a mask keeps an index below.
pub const ROWS: usize = DISTRIBUTIONS.next_power_of_two() as usize;

/// Where the histograms of one distribution lie in each bank: behind whose, and how many, one per group.
///
/// One word, which the programs read once for each duration: the first in the lower half, the number in
/// the upper one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row(u32);

impl Row {
    /// It is not kept: it has no groups.
    pub const NONE: Self = Self(0);

    /// As of [`Row::word`].
    #[inline(always)]
    pub const fn of(word: u32) -> Self {
        Self(word)
    }

    /// What the table holds.
    pub const fn word(self) -> u32 {
        self.0
    }

    /// How many groups it is kept for. 0: it is not kept.
    #[inline(always)]
    pub const fn groups(self) -> u32 {
        self.0 >> 16
    }

    /// The index of a group's histogram, with `per_bank` of all distributions in a bank. **None**: it is
    /// not kept for that group.
    #[inline(always)]
    pub const fn slot(self, bank: u32, per_bank: u32, group: u8) -> Option<u32> {
        if group as u32 >= self.groups() {
            return None;
        }
        Some(bank * per_bank + (self.0 & 0xffff) + group as u32)
    }
}

/// Where the histograms of each distribution lie: those that are kept, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    words: [u32; ROWS],
    per_bank: u32,
}

impl Rows {
    /// For as many groups of each distribution as `groups` says, at most [`MAX_GROUPS`]. 0: it is not kept.
    pub fn new(groups: impl Fn(Distribution) -> u32) -> Self {
        let mut rows = Self { words: [Row::NONE.word(); ROWS], per_bank: 0 };
        for distribution in Distribution::ALL {
            let groups = groups(distribution).min(MAX_GROUPS);
            if groups > 0 {
                rows.words[distribution as usize] = groups << 16 | rows.per_bank;
                rows.per_bank += groups;
            }
        }
        rows
    }

    /// One distribution's.
    pub const fn row(&self, distribution: Distribution) -> Row {
        Row(self.words[distribution as usize])
    }

    /// Histograms in each bank.
    pub const fn per_bank(&self) -> u32 {
        self.per_bank
    }

    /// [`Row::word`] of each distribution, by its number; then zeros.
    pub const fn words(&self) -> &[u32; ROWS] {
        &self.words
    }
}

// The lower half of a row holds where the last one begins.
const _: () = assert!(DISTRIBUTIONS * MAX_GROUPS < 1 << 16);

impl Counter {
    /// What its groups stand for.
    pub const fn groups(self) -> Groups {
        match self.measurement() {
            Measurement::Drops | Measurement::SoftirqWait => Groups::Whole,
            _ => Groups::Peers,
        }
    }

    /// Its index. **None**: `group` is no number of `groups`.
    #[inline(always)]
    pub const fn slot(self, group: u8, groups: u32) -> Option<u32> {
        if group as u32 >= groups {
            return None;
        }
        Some(self as u32 * groups + group as u32)
    }
}

/// Counters of the sockets that were open before the programs: one per role, in the order of
/// [`Role::ALL`], then listeners that found no room, without which no role is certain.
pub const SEEDED_COUNTERS: u32 = Role::ALL.len() as u32 + 1;

/// Where the listeners without room are counted.
pub const UNLISTED: u32 = Role::ALL.len() as u32;

/// What the programs keep something of, entry by entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Table {
    /// Sockets in scope.
    Sockets = 0,
    /// Connections of which everything is measured. Not counted where that is all of them.
    Sampled = 1,
}

/// Connections of each role and peer group of which everything is measured, whatever the sampling: a
/// group with few must not be left without any.
pub const LEAST_SAMPLED: u64 = 16;

/// Counters of sampled connections: one per role and peer group.
pub const SAMPLED_COUNTERS: u32 = Role::ALL.len() as u32 * MAX_PEERS;

/// Where the open sampled connections of a role and a group are counted. **None**: it is no such socket.
#[inline(always)]
pub const fn sampled_counter(role: u8, peer: u8) -> Option<u32> {
    let is_connection = role == Role::Connected as u8 || role == Role::Accepted as u8;
    if !is_connection || peer as u32 >= MAX_PEERS {
        return None;
    }
    Some((role as u32 - 1) * MAX_PEERS + peer as u32)
}

/// Words of what a walk over the table of sockets counts: open sockets by role, listeners among them, then
/// open sampled connections as in [`sampled_counter`].
pub const WALK_WORDS: usize = WALKED_SAMPLED + SAMPLED_COUNTERS as usize;

/// What a walk counts.
pub type WalkWords = [u64; WALK_WORDS];

/// The first word of the sampled connections.
pub const WALKED_SAMPLED: usize = LISTENER as usize;

/// The word of open sockets with this role, [`LISTENER`] among them. **None**: it is no role.
#[inline(always)]
pub const fn walked_socket(role: u8) -> Option<usize> {
    if role == 0 || role > LISTENER {
        return None;
    }
    Some(role as usize - 1)
}

impl Table {
    /// Every table, by its number.
    pub const ALL: [Self; 2] = [Self::Sockets, Self::Sampled];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::Sampled => "sampled",
        }
    }
}

/// What is kept per TCP socket. All zero but `role` and `peer` when it is opened.
///
/// Each field is written by one aligned store. A send on one CPU can meet data arriving on
/// another: at worst one sample of that socket is missing or counted as overlapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Socket {
    /// When the oldest unread byte that counts became readable. 0: nothing is waited for.
    pub ready_ns: u64,
    /// The sequence number of that byte, to tell a read from a peek.
    pub ready_seq: u32,
    /// `rcv_nxt` when data last arrived: what is beyond it is new.
    pub seen_seq: u32,
    /// Request and answer, of the side that this socket's role has.
    pub exchange: Exchange,
    /// Until it is in use.
    pub opening: Opening,
    /// Recovery from loss.
    pub recovery: Recovery,
    /// When its send buffer was found full. None: it is not.
    pub blocked: Tick,
    /// Round trip of the handshake, until the peer group is known. **Unit**: µs. 0: none.
    pub handshake_us: u32,
    /// A [`Role`], or [`LISTENER`].
    pub role: u8,
    /// A peer group, or [`PEER_PENDING`].
    pub peer: u8,
    /// What is unread, and what `ready_ns` is the time of: see [`super::receive`].
    pub unread: u8,
    /// Not 0: `seen_seq` is known.
    pub seen: u8,
    /// How far the application has read, to tell a read from a peek.
    pub copied_seq: u32,
    /// The burst of writes that was counted last, see [`super::thread::Work::burst`]. 0: none was.
    pub burst: u32,
    /// Not 0: only what is counted once per connection is measured of it.
    pub unsampled: u8,
    /// Not 0: it is counted among the open connections of which everything is measured.
    pub sampled: u8,
    /// The forwarder whose thread opened or used it first, or [`NOBODY`].
    pub forwarder: u8,
    /// [`Group::number`] of both, or [`PEER_PENDING`].
    pub group: u8,
}

impl Socket {
    /// The entry of a socket that is being opened, with a [`Role`] or as a [`LISTENER`].
    #[inline(always)]
    pub const fn opening(role: u8) -> Self {
        Self {
            ready_ns: 0,
            ready_seq: 0,
            seen_seq: 0,
            exchange: Exchange::new(),
            opening: Opening::unseen(),
            recovery: Recovery::new(),
            blocked: Tick::NONE,
            handshake_us: 0,
            role,
            peer: PEER_PENDING,
            unread: 0,
            seen: 0,
            copied_seq: 0,
            burst: 0,
            unsampled: 0,
            sampled: 0,
            forwarder: NOBODY,
            group: PEER_PENDING,
        }
    }

    /// Its group's number if its peer group is `peer`.
    #[inline(always)]
    pub const fn group_of(&self, peer: u8, peers: u32) -> u8 {
        if peer == PEER_PENDING {
            return PEER_PENDING;
        }
        Group { peer, forwarder: self.forwarder }.number(peers)
    }

    /// Its peer group is known.
    #[inline(always)]
    pub fn set_peer(&mut self, peer: u8, peers: u32) {
        self.peer = peer;
        self.group = self.group_of(peer, peers);
    }

    /// Its forwarder is known.
    #[inline(always)]
    pub fn set_forwarder(&mut self, forwarder: u8, peers: u32) {
        self.forwarder = forwarder;
        self.set_peer(self.peer, peers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::size_of;

    #[test]
    fn a_socket_has_no_hidden_padding() {
        let parts = size_of::<Exchange>() + size_of::<Opening>() + size_of::<Recovery>();
        let fields = 8 + 4 + 4 + parts + 4 + 4 + 4 + 4 + 8;
        assert_eq!(size_of::<Socket>(), fields);
    }

    #[test]
    fn sampled_connections_are_counted_by_role_and_group_and_others_not() {
        let last = sampled_counter(Role::Accepted as u8, MAX_PEERS as u8 - 1);
        assert_eq!(last, Some(SAMPLED_COUNTERS - 1));
        assert_eq!(sampled_counter(Role::Connected as u8, 0), Some(0));
        assert_eq!(sampled_counter(Role::Connected as u8, PEER_PENDING), None);
        assert_eq!(sampled_counter(LISTENER, PEER_OTHER), None);
    }

    #[test]
    fn a_walk_has_a_word_for_each_role_and_each_group_of_sampled_connections() {
        let roles = [Role::Connected as u8, Role::Accepted as u8, LISTENER].map(walked_socket);
        assert_eq!(roles, [Some(0), Some(1), Some(2)]);
        assert_eq!([0, LISTENER + 1].map(walked_socket), [None; 2]);
        let last = sampled_counter(Role::Accepted as u8, MAX_PEERS as u8 - 1).unwrap();
        assert_eq!((WALKED_SAMPLED, WALKED_SAMPLED + last as usize), (3, WALK_WORDS - 1));
    }

    #[test]
    fn every_role_has_its_own_counter_of_seeded_sockets() {
        let counters = Role::ALL.map(Role::seeded);
        assert_eq!((counters, UNLISTED, SEEDED_COUNTERS), ([0, 1], 2, 3));
    }

    #[test]
    fn no_two_histograms_share_a_slot_and_none_is_left_over() {
        // As many groups as come: none, one, or several.
        let rows = Rows::new(|distribution| distribution as u32 % 4);
        let banks = 3;
        let mut seen = [false; 3 * 4 * DISTRIBUTIONS as usize];
        for (bank, distribution) in (0..banks).flat_map(|bank| Distribution::ALL.map(|it| (bank, it))) {
            let row = rows.row(distribution);
            assert_eq!(row.groups(), distribution as u32 % 4);
            for group in 0..row.groups() as u8 {
                let slot = row.slot(bank, rows.per_bank(), group).unwrap() as usize;
                assert!(!core::mem::replace(&mut seen[slot], true), "{distribution:?} {bank} {group}");
            }
            assert_eq!(row.slot(bank, rows.per_bank(), row.groups() as u8), None);
            assert_eq!(row.slot(bank, rows.per_bank(), PEER_PENDING), None);
        }
        let (used, unused) = seen.split_at((banks * rows.per_bank()) as usize);
        assert!(used.iter().all(|used| *used) && !unused.contains(&true));
    }

    #[test]
    fn a_row_is_the_same_out_of_the_table_and_the_fullest_table_has_room() {
        let rows = Rows::new(|_| u32::MAX);
        assert_eq!(rows.per_bank(), DISTRIBUTIONS * MAX_GROUPS);
        for distribution in Distribution::ALL {
            let row = rows.row(distribution);
            assert_eq!(Row::of(rows.words()[distribution as usize]), row);
            assert_eq!(row.slot(0, rows.per_bank(), 0), Some(distribution as u32 * MAX_GROUPS));
        }
        assert_eq!(Rows::new(|_| 0).row(Distribution::Connect), Row::NONE);
    }

    #[test]
    fn every_group_has_a_number_of_its_own_and_is_found_by_it() {
        let (peers, forwarders) = (28, MAX_FORWARDERS as u8 + 1);
        let all = (0..forwarders).flat_map(|forwarder| (0..peers).map(move |peer| Group { peer, forwarder }));
        let mut last = None;
        for group in all {
            let number = group.number(u32::from(peers));
            assert_eq!(Group::numbered(number, u32::from(peers)), group);
            assert!(last.is_none_or(|last| number == last + 1), "{group:?}");
            last = Some(number);
        }
        assert!(last.is_some_and(|last| u32::from(last) < MAX_GROUPS));
    }

    #[test]
    fn a_sockets_group_is_known_when_its_peer_is_and_moves_with_its_forwarder() {
        let mut socket = Socket::opening(Role::Accepted as u8);
        socket.set_forwarder(2, 4);
        assert_eq!((socket.forwarder, socket.group), (2, PEER_PENDING));
        socket.set_peer(3, 4);
        assert_eq!(socket.group, 11);
        socket.set_forwarder(1, 4);
        assert_eq!((socket.peer, socket.group), (3, 7));
    }

    #[test]
    fn one_index_in_two_namespaces_is_two_devices() {
        assert_ne!(device_key(1, 2), device_key(2, 2));
        assert_ne!(device_key(1, 2), device_key(2, 1));
        assert_eq!(device_key(u32::MAX, u32::MAX), u64::MAX);
    }

    #[test]
    fn no_two_counters_share_a_slot() {
        let slots =
            Counter::ALL.into_iter().flat_map(|counter| (0..5).map(move |peer| counter.slot(peer, 5)));
        assert!(slots.eq((0..COUNTERS * 5).map(Some)));
        assert_eq!(Counter::ResetsSent.slot(5, 5), None);
    }
}
