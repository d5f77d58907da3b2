//! Who is inside, and who has to go for a newcomer? Pure: told the time, and doing nothing itself.
//!
//! A listener without this rule is shut by whoever opens connections and says nothing: they hold all
//! places, and a scraper waits behind them. With it a full listener takes the newcomer and lets the
//! connection go that is missed least. Somebody who floods loses connections of his own first, since
//! the one that goes belongs to the peer that holds the most.

use crate::model::refusal::Refusal;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// A connection with requests under way may be closed for a newcomer, as the last of all, once its latest
/// request began this long ago. Twice the time that a stuck response has anyway.
const LONG_BUSY: Duration = Duration::from_secs(60);

/// Whose connection it is: an IPv4 address, or the /64 that one IPv6 host can take addresses from at will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Peer(IpAddr);

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << 64);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            address => address,
        })
    }
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not asked anything yet.
    Arriving,
    /// It has, and was answered.
    Idle,
    /// So many requests are under way; never 0.
    Busy(u32),
}

#[derive(Debug)]
struct Guest<T> {
    peer: Peer,
    stage: Stage,
    /// Arrival, the end of the last request, or the beginning of the latest one, by stage.
    since: Instant,
    handle: T,
}

/// All open connections of a listener. `T` is what closes one.
#[derive(Debug)]
pub(super) struct Book<T> {
    most: usize,
    most_per_peer: usize,
    /// By number, which rises: the order of arrival.
    guests: BTreeMap<u64, Guest<T>>,
    by_peer: HashMap<Peer, usize>,
    next: u64,
}

/// What becomes of a newcomer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission<T> {
    /// It has a place, with this number.
    Admitted(u64),
    /// The same, and this connection has none any more.
    InPlaceOf(u64, T, Refusal),
    /// It has none.
    Refused(Refusal),
}

impl<T> Book<T> {
    /// At most so many connections, and so many of one peer; at least one each.
    pub(super) fn new(most: usize, most_per_peer: usize) -> Self {
        Self {
            most: most.max(1),
            most_per_peer: most_per_peer.max(1),
            guests: BTreeMap::new(),
            by_peer: HashMap::new(),
            next: 0,
        }
    }

    pub(super) fn open(&self) -> usize {
        self.guests.len()
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// A newcomer. **Cost**: one look at every connection where one has to go, else none.
    pub(super) fn admit(&mut self, peer: Peer, handle: T, now: Instant) -> Admission<T> {
        let (victim, why) = if self.by_peer.get(&peer).is_some_and(|&held| held >= self.most_per_peer) {
            (self.dispensable(Some(peer), now), Refusal::PeerShare)
        } else if self.guests.len() >= self.most {
            (self.dispensable(None, now), Refusal::Crowded)
        } else {
            return Admission::Admitted(self.enter(peer, handle, now));
        };
        match victim.and_then(|number| self.leave(number)) {
            Some(gone) => Admission::InPlaceOf(self.enter(peer, handle, now), gone, why),
            None => Admission::Refused(why),
        }
    }

    fn enter(&mut self, peer: Peer, handle: T, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.guests.insert(number, Guest { peer, stage: Stage::Arriving, since: now, handle });
        *self.by_peer.entry(peer).or_default() += 1;
        number
    }

    /// A connection is gone; **None**: it had been already.
    pub(super) fn leave(&mut self, number: u64) -> Option<T> {
        let guest = self.guests.remove(&number)?;
        if let Some(held) = self.by_peer.get_mut(&guest.peer) {
            *held -= 1;
            if *held == 0 {
                self.by_peer.remove(&guest.peer);
            }
        }
        Some(guest.handle)
    }

    /// A request's head has come.
    pub(super) fn begin(&mut self, number: u64, now: Instant) {
        if let Some(guest) = self.guests.get_mut(&number) {
            let under_way = if let Stage::Busy(count) = guest.stage { count } else { 0 };
            (guest.stage, guest.since) = (Stage::Busy(under_way.saturating_add(1)), now);
        }
    }

    /// A request is done with.
    pub(super) fn end(&mut self, number: u64, now: Instant) {
        if let Some(guest) = self.guests.get_mut(&number)
            && let Stage::Busy(count) = guest.stage
        {
            match count {
                0 | 1 => (guest.stage, guest.since) = (Stage::Idle, now),
                more => guest.stage = Stage::Busy(more - 1),
            }
        }
    }

    /// Whether it has never asked anything.
    pub(super) fn is_arriving(&self, number: u64) -> bool {
        self.guests.get(&number).is_some_and(|guest| guest.stage == Stage::Arriving)
    }

    /// The connection that is missed least: of the peer that holds the most, one that never asked before
    /// one that did, the longest like that first. **None**: all of them are busy.
    fn dispensable(&self, of: Option<Peer>, now: Instant) -> Option<u64> {
        let rank = |guest: &Guest<T>| match guest.stage {
            Stage::Arriving => Some(2),
            Stage::Idle => Some(1),
            Stage::Busy(_) if now.saturating_duration_since(guest.since) >= LONG_BUSY => Some(0),
            Stage::Busy(_) => None,
        };
        let all = self.guests.iter().filter(|(_, guest)| of.is_none_or(|peer| guest.peer == peer));
        let ranked = all.filter_map(|(&number, guest)| {
            let rank = rank(guest)?;
            let held = self.by_peer.get(&guest.peer).copied().unwrap_or_default();
            Some(((rank > 0, held, rank, std::cmp::Reverse(guest.since)), number))
        });
        // The first of equals: the order of arrival decides.
        ranked.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, number)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(last: u8) -> Peer {
        IpAddr::from([192, 0, 2, last]).into()
    }

    /// Admits; the handle is the peer's number.
    fn admit(book: &mut Book<u8>, of: u8, now: Instant) -> Admission<u8> {
        book.admit(peer(of), of, now)
    }

    #[test]
    fn a_silent_crowd_of_one_peer_makes_room_for_another() {
        let (mut book, now) = (Book::new(8, 8), Instant::now());
        (0..8).for_each(|_| assert!(matches!(admit(&mut book, 1, now), Admission::Admitted(_))));
        assert_eq!(admit(&mut book, 2, now), Admission::InPlaceOf(8, 1, Refusal::Crowded));
        // The crowd comes back and costs itself a place, not the other.
        for _ in 0..20 {
            assert!(matches!(admit(&mut book, 1, now), Admission::InPlaceOf(_, 1, Refusal::Crowded)));
        }
        assert_eq!((book.open(), book.by_peer[&peer(2)]), (8, 1));
    }

    #[test]
    fn a_share_is_one_peers_own_affair() {
        let (mut book, now) = (Book::new(8, 2), Instant::now());
        (0..2).for_each(|_| assert!(matches!(admit(&mut book, 1, now), Admission::Admitted(_))));
        assert_eq!(admit(&mut book, 1, now), Admission::InPlaceOf(2, 1, Refusal::PeerShare));
        [1, 2].iter().for_each(|&number| book.begin(number, now));
        assert_eq!(admit(&mut book, 1, now), Admission::Refused(Refusal::PeerShare));
        assert!(matches!(admit(&mut book, 2, now), Admission::Admitted(_)));
    }

    #[test]
    fn who_never_asked_goes_before_who_did_and_busy_ones_stay() {
        let (mut book, start) = (Book::new(3, 3), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        (1..=3).for_each(|of| assert!(matches!(admit(&mut book, of, start), Admission::Admitted(_))));
        book.begin(0, start);
        book.begin(1, start);
        book.end(1, later(1));
        assert_eq!(admit(&mut book, 4, later(2)), Admission::InPlaceOf(3, 3, Refusal::Crowded));
        book.begin(3, later(2));
        assert_eq!(admit(&mut book, 5, later(3)), Admission::InPlaceOf(4, 2, Refusal::Crowded));
        book.begin(4, later(3));
        assert_eq!(admit(&mut book, 6, later(4)), Admission::Refused(Refusal::Crowded));
        // The one whose request has been under way for a minute is the last resort.
        assert_eq!(admit(&mut book, 6, later(60)), Admission::InPlaceOf(5, 1, Refusal::Crowded));
    }

    #[test]
    fn several_requests_at_once_keep_a_connection_busy_until_the_last_one_ends() {
        let (mut book, now) = (Book::new(1, 1), Instant::now());
        assert_eq!(admit(&mut book, 1, now), Admission::Admitted(0));
        book.begin(0, now);
        book.begin(0, now);
        book.end(0, now);
        assert_eq!(admit(&mut book, 2, now), Admission::Refused(Refusal::Crowded));
        book.end(0, now);
        assert!(matches!(admit(&mut book, 2, now), Admission::InPlaceOf(1, 1, _)));
        assert_eq!(book.leave(0), None, "it had gone already");
    }

    #[test]
    fn addresses_of_one_ipv6_host_are_one_peer() {
        let of = |text: &str| Peer::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    proptest! {
        #[test]
        fn no_order_of_events_breaks_a_limit_or_a_count(events in prop::collection::vec((0u8..4, 0u8..4, 0u64..40), 0..200)) {
            let (mut book, now) = (Book::new(6, 3), Instant::now());
            for (event, of, number) in events {
                match event {
                    0 => drop(admit(&mut book, of, now)),
                    1 => book.begin(number, now),
                    2 => book.end(number, now),
                    _ => drop(book.leave(number)),
                }
                prop_assert!(book.open() <= 6);
                prop_assert!(book.by_peer.values().all(|&held| (1..=3).contains(&held)));
                prop_assert_eq!(book.by_peer.values().sum::<usize>(), book.open());
            }
        }
    }
}
