//! Request and first answer on one connection, seen only as bytes that come and go.
//!
//! Without reading HTTP/2, an answer can be told to belong to a request only where nothing else
//! goes on. Such an exchange is *clean*; every other one is counted and not measured. On busy
//! multiplexed connections nearly nothing is clean, and a figure that pretended otherwise would
//! be off by the whole round trip.

/// Bytes within this time of the last ones of their direction belong to the same request: HEADERS
/// and DATA are often two writes. At half of it a slow writer is often doubted; at double, two
/// requests that follow each other closely could pass for one.
pub const BURST_NS: u64 = 1_000_000;

/// Up to this time a second burst may still be the rest of the same request, whose writer lost its
/// CPU in between: it is doubted. Beyond it, it is another request.
pub const SPLIT_NS: u64 = 5_000_000;

/// A doubt ends after this time and [`CALM_EXCHANGES`] exchanges, one at a time. If there were two
/// requests after all, the second one's answer has come by then; of a perfectly even stream of more
/// than one request at once, at less than `SPLIT_NS` from each other, answers could still be mistaken, by
/// at most that time.
pub const DOUBT_NS: u64 = 50_000_000;

/// Exchanges without a second burst that end a doubt.
pub const CALM_EXCHANGES: u8 = 2;

/// As [`CALM_EXCHANGES`], on a connection that was not watched from its beginning. Only there can
/// one answer be owed all the time without a second burst to tell: requests of two users who take
/// turns. Sooner or later one of them asks while the other waits, and rarely after that many.
pub const CALM_JOINED: u8 = 64;

/// Exchanges in a row that end the suspicion of two requests at once: each by itself, and each within a
/// quarter, or [`USUAL_NS`], of what the connection's exchanges took before it. In a steady stream of more
/// requests than one at once each would seem to take the rest that its real time leaves of their
/// distance, which is never within a quarter of the whole.
pub const CALM_USUAL: u8 = 3;

/// Differences below this are nobody's answer.
pub const USUAL_NS: u64 = 1_000_000;

/// Silence in both directions before a request. Less is a connection on which more goes on.
pub const IDLE_NS: u64 = 500_000;

/// Silence after which an overlapped connection owes no more answers. A service slower than this
/// that is asked twice at once can still mislead, once.
pub const QUIET_NS: u64 = 200_000_000;

/// What TLS 1.3 adds to each.
const TLS_RECORD: u32 = 22;

/// Whether so many bytes at once are HTTP/2 housekeeping.
#[inline(always)]
pub const fn is_control(bytes: u32) -> bool {
    is_listed(bytes) || (bytes > TLS_RECORD && is_listed(bytes - TLS_RECORD))
}

/// Frames that are no request and no answer: SETTINGS acknowledgement and empty SETTINGS 9,
/// WINDOW_UPDATE 13, PING 17, and what pairs of them come to.
#[inline(always)]
const fn is_listed(bytes: u32) -> bool {
    matches!(bytes, 9 | 13 | 17 | 22 | 26 | 30 | 34)
}

/// Joined while it was open; the doubt is about what went on before.
const JOINED: u8 = 1;

/// Joined, and calm for [`CALM_JOINED`] exchanges since.
const JOINED_CALM: u8 = 2;

/// The exchange under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Exchange {
    /// When the request began. 0: none is open.
    asked_ns: u64,
    /// Last bytes in the request's direction.
    last_ask_ns: u64,
    /// Last bytes in the answer's direction.
    last_answer_ns: u64,
    /// Since when there is doubt whether one answer more is owed. 0: there is none.
    doubted_ns: u64,
    /// Exchanges left out because the connection was new.
    skipped: u16,
    /// Not 0: the open request did not begin in silence, or came in more than one burst.
    crowded: u8,
    /// Not 0: two requests have been open at once, and answers may still be owed.
    mixed: u8,
    /// Exchanges, one at a time, since the doubt began.
    calm: u8,
    /// Not 0: bytes followed so closely on the answer that they may be the rest of its request.
    tail: u8,
    /// Not 0: nobody watched when the connection was last silent. [`JOINED`] or [`JOINED_CALM`].
    joined: u8,
    /// Not 0: the open request has come in more than one burst.
    bursts: u8,
    /// Fills the entry up.
    unused: [u8; 4],
    /// How long the last measured exchange took, in µs. 0: none was.
    usual_us: u32,
}

/// What bytes in the answer's direction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// No request was open: the rest of an answer.
    Nothing,
    /// The time from the request's first byte to the answer's. **Unit**: ns.
    Took(u64),
    /// Not one exchange by itself.
    Overlapped,
    /// One of the first of its connection, to be left out.
    Opening,
}

impl Exchange {
    /// Of a connection on which nothing has happened.
    #[inline(always)]
    pub const fn new() -> Self {
        Self {
            asked_ns: 0,
            last_ask_ns: 0,
            last_answer_ns: 0,
            doubted_ns: 0,
            skipped: 0,
            crowded: 0,
            mixed: 0,
            calm: 0,
            tail: 0,
            joined: 0,
            bursts: 0,
            unused: [0; 4],
            usual_us: 0,
        }
    }

    /// Of a connection that has been open for long, and may be in the middle of anything: none of
    /// its exchanges is an opening, and none is measured before 200 ms of silence, or so many calm
    /// exchanges that no answer can be owed from before.
    #[inline(always)]
    pub const fn joined(now: u64, skip: u16) -> Self {
        Self {
            last_ask_ns: now,
            last_answer_ns: now,
            doubted_ns: now,
            skipped: skip,
            joined: JOINED,
            ..Self::new()
        }
    }

    /// Whether its connection is still being set up: one of the first `skip` exchanges.
    #[inline(always)]
    pub const fn is_opening(&self, skip: u16) -> bool {
        self.skipped < skip
    }

    /// Bytes in the request's direction; the first `skip` exchanges will be left out.
    #[inline(always)]
    pub fn ask(&mut self, now: u64, skip: u16) {
        if self.asked_ns == 0 {
            let last =
                if self.last_ask_ns > self.last_answer_ns { self.last_ask_ns } else { self.last_answer_ns };
            let silence = now.saturating_sub(last);
            // A write is stamped when its call returns: the answer can be there before.
            if silence < IDLE_NS
                && self.last_answer_ns >= self.last_ask_ns
                && now.saturating_sub(self.last_ask_ns) <= BURST_NS
            {
                self.tail = 1;
                self.last_ask_ns = now;
                return;
            }
            self.tail = 0;
            if silence >= QUIET_NS {
                self.mixed = 0;
                self.doubted_ns = 0;
                self.joined = 0;
            }
            self.crowded = (silence < IDLE_NS) as u8;
            self.bursts = 0;
            self.asked_ns = now;
        } else if now.saturating_sub(self.last_ask_ns) > BURST_NS {
            // A new connection's SETTINGS and its first request are two bursts of one opening.
            let opening = self.is_opening(skip);
            let first = self.bursts == 0 && now.saturating_sub(self.last_ask_ns) <= SPLIT_NS;
            self.bursts = 1;
            if opening || first {
                self.doubted_ns = now;
                self.calm = 0;
            } else {
                self.mixed = 1;
                self.doubted_ns = now;
                self.calm = 0;
            }
            self.crowded = 1;
        }
        self.last_ask_ns = now;
    }

    /// Bytes in the answer's direction; the first `skip` exchanges are left out.
    #[inline(always)]
    pub fn answer(&mut self, now: u64, skip: u16) -> Answer {
        self.last_answer_ns = now;
        let asked = self.asked_ns;
        if asked == 0 {
            // It was a request after all, right behind the last one.
            let overlapped = self.tail != 0 && now.saturating_sub(self.last_ask_ns) >= IDLE_NS;
            self.tail = 0;
            return if overlapped { Answer::Overlapped } else { Answer::Nothing };
        }
        self.asked_ns = 0;
        if self.skipped < skip {
            self.skipped += 1;
            return Answer::Opening;
        }
        // Another CPU's clock may be a little behind: no duration is better than a huge one.
        if self.crowded != 0 || now < asked {
            return Answer::Overlapped;
        }
        let took = now - asked;
        if self.mixed != 0 || self.doubted_ns != 0 {
            self.settle(now, took);
            return Answer::Overlapped;
        }
        // What is measured on a connection that was never seen silent is not certain enough to
        // tell others by.
        if self.joined == 0 {
            let us = took / 1_000;
            self.usual_us = if us > u32::MAX as u64 { u32::MAX } else { us as u32 };
        }
        Answer::Took(took)
    }

    /// One more exchange, by itself, that took this long while answers may still be owed: are they?
    #[inline(always)]
    fn settle(&mut self, now: u64, took: u64) {
        // Without a figure from before, nothing but silence tells.
        if self.mixed != 0 && (self.usual_us == 0 || !self.is_usual(took)) {
            self.calm = 0;
            return;
        }
        self.calm = self.calm.saturating_add(1);
        let enough = if self.mixed != 0 {
            CALM_USUAL
        } else if self.joined == JOINED {
            CALM_JOINED
        } else {
            CALM_EXCHANGES
        };
        if self.calm >= enough && now.saturating_sub(self.doubted_ns) >= DOUBT_NS {
            self.mixed = 0;
            self.doubted_ns = 0;
            if self.joined == JOINED {
                self.joined = JOINED_CALM;
            }
        }
    }

    /// Whether an exchange took about as long as the last one that was measured.
    #[inline(always)]
    const fn is_usual(&self, took: u64) -> bool {
        let usual = self.usual_us as u64 * 1_000;
        let apart = usual.abs_diff(took);
        apart <= usual / 4 || apart <= USUAL_NS
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const MS: u64 = 1_000_000;

    #[test]
    fn an_exchange_in_silence_is_measured_from_first_byte_to_first_byte() {
        let mut exchange = Exchange::new();
        exchange.ask(1_000 * MS, 0);
        exchange.ask(1_000 * MS + BURST_NS, 0);
        assert_eq!(exchange.answer(1_050 * MS, 0), Answer::Took(50 * MS));
        assert_eq!(exchange.answer(1_051 * MS, 0), Answer::Nothing, "the rest of the answer");
    }

    #[test]
    fn a_second_request_spoils_the_exchange_and_those_that_may_get_its_answer() {
        let mut exchange = Exchange::new();
        exchange.ask(1_000 * MS, 0);
        exchange.ask(1_010 * MS, 0);
        assert_eq!(exchange.answer(1_020 * MS, 0), Answer::Overlapped);
        exchange.ask(1_030 * MS, 0);
        assert_eq!(exchange.answer(1_031 * MS, 0), Answer::Overlapped, "the answer to the second request");
        exchange.ask(1_031 * MS + QUIET_NS, 0);
        assert_eq!(exchange.answer(1_032 * MS + QUIET_NS, 0), Answer::Took(MS), "quiet again");
    }

    #[test]
    fn a_request_right_behind_other_bytes_is_not_measured() {
        let mut exchange = Exchange::new();
        exchange.ask(1_000 * MS, 0);
        assert_eq!(exchange.answer(1_001 * MS, 0), Answer::Took(MS));
        exchange.ask(1_001 * MS + IDLE_NS - 1, 0);
        assert_eq!(exchange.answer(1_010 * MS, 0), Answer::Overlapped);
        exchange.ask(1_010 * MS + IDLE_NS, 0);
        assert_eq!(exchange.answer(1_012 * MS, 0), Answer::Took(2 * MS - IDLE_NS));
    }

    #[test]
    fn the_first_exchanges_of_a_connection_are_left_out() {
        let mut exchange = Exchange::new();
        exchange.ask(1_000 * MS, 1);
        assert_eq!(exchange.answer(1_001 * MS, 1), Answer::Opening);
        exchange.ask(1_100 * MS, 1);
        assert_eq!(exchange.answer(1_101 * MS, 1), Answer::Took(MS));
    }

    #[test]
    fn settings_before_the_first_request_spoil_nothing_behind_it() {
        let mut exchange = Exchange::new();
        exchange.ask(1_000 * MS, 1);
        exchange.ask(1_020 * MS, 1);
        assert_eq!(exchange.answer(1_040 * MS, 1), Answer::Opening);
        // Without a pause, as a busy proxy goes on; the first two only end the doubt.
        let mut took = [Answer::Nothing; 4];
        for (nth, took) in took.iter_mut().enumerate() {
            let at = (1_045 + 25 * nth as u64) * MS;
            exchange.ask(at, 1);
            *took = exchange.answer(at + 20 * MS, 1);
        }
        assert_eq!(
            took,
            [Answer::Overlapped, Answer::Overlapped, Answer::Took(20 * MS), Answer::Took(20 * MS)]
        );
    }

    #[test]
    fn a_request_whose_writer_lost_its_cpu_is_doubted_and_costs_a_few_exchanges() {
        let (mut exchange, mut clean) = (Exchange::new(), 0);
        for nth in 0..200 {
            let at = (1_000 + 27 * nth) * MS;
            exchange.ask(at, 0);
            if nth == 20 {
                exchange.ask(at + 4 * MS, 0);
            }
            match exchange.answer(at + 22 * MS, 0) {
                Answer::Took(took) => clean += u32::from(took == 22 * MS),
                other => assert_eq!((other, (20..24).contains(&nth)), (Answer::Overlapped, true), "{nth}"),
            }
        }
        assert!(clean >= 196, "{clean}");
    }

    #[test]
    fn a_write_that_is_stamped_after_its_answer_is_no_second_request() {
        let (mut exchange, mut at) = (Exchange::new(), 1_000 * MS);
        for _ in 0..5 {
            exchange.ask(at, 0);
            assert_eq!(exchange.answer(at + 400_000, 0), Answer::Took(400_000));
            exchange.ask(at + 410_000, 0);
            assert_eq!(exchange.answer(at + 450_000, 0), Answer::Nothing, "the rest of the answer");
            at += 30 * MS;
        }
    }

    #[test]
    fn a_writer_that_lost_its_cpu_for_long_costs_a_few_exchanges_too() {
        let (mut exchange, mut clean) = (Exchange::new(), 0);
        for nth in 0..200 {
            let at = (1_000 + 32 * nth) * MS;
            exchange.ask(at, 0);
            if nth == 20 {
                exchange.ask(at + 9 * MS, 0);
            }
            match exchange.answer(at + (20 + nth % 5) * MS, 0) {
                Answer::Took(_) => clean += 1,
                other => assert_eq!((other, (20..25).contains(&nth)), (Answer::Overlapped, true), "{nth}"),
            }
        }
        assert!(clean >= 195, "{clean}");
    }

    #[test]
    fn a_first_request_right_behind_the_settings_spoils_nothing_by_coming_in_two() {
        let mut exchange = Exchange::new();
        exchange.ask(1_000 * MS, 1);
        assert_eq!(exchange.answer(1_020 * MS, 1), Answer::Opening, "the other side's settings");
        exchange.ask(1_020 * MS + 100_000, 1);
        exchange.ask(1_023 * MS, 1);
        let mut clean = 0;
        for nth in 0..20 {
            let at = (1_041 + 27 * nth) * MS;
            clean += u32::from(exchange.answer(at, 1) == Answer::Took(21 * MS));
            exchange.ask(at + 6 * MS, 1);
        }
        assert!(clean >= 16, "{clean}");
    }

    #[test]
    fn requests_that_begin_to_overlap_evenly_are_measured_no_more() {
        // Alone at first; then each 50 ms for ever, with an answer after 60.
        for distance in [17, 31, 41, 50, 59] {
            let mut exchange = Exchange::new();
            for nth in 0..10 {
                exchange.ask((1_000 + 300 * nth) * MS, 0);
                assert_eq!(exchange.answer((1_060 + 300 * nth) * MS, 0), Answer::Took(60 * MS));
            }
            let mut events: Vec<(u64, bool)> = (0..2_000)
                .flat_map(|n| [(5_000 + distance * n, true), (5_060 + distance * n, false)])
                .collect();
            events.sort_unstable();
            for (at, asks) in events {
                if asks {
                    exchange.ask(at * MS, 0);
                } else if let Answer::Took(took) = exchange.answer(at * MS, 0) {
                    panic!("{took} ns at a distance of {distance} ms");
                }
            }
        }
    }

    #[test]
    fn an_even_stream_of_more_than_one_request_at_once_is_never_measured() {
        // Asked each 50 ms, answered after 60: one is always open when the next one comes.
        let mut exchange = Exchange::new();
        let mut events: Vec<(u64, bool)> =
            (0..400).flat_map(|n| [(1_000 + 50 * n, true), (1_060 + 50 * n, false)]).collect();
        events.sort();
        let mut seen = Vec::new();
        for (at, asks) in events {
            if asks {
                exchange.ask(at * MS, 0);
            } else if let Answer::Took(took) = exchange.answer(at * MS, 0) {
                seen.push(took);
            }
        }
        assert_eq!(seen, []);
    }

    /// Asks and answers `count` times, 20 ms each with 5 ms between. Gives how many were measured.
    fn answered_alone(exchange: &mut Exchange, from: u64, count: u64) -> usize {
        let measured = (0..count).filter(|nth| {
            let at = from + 25 * MS * nth;
            exchange.ask(at, 1);
            exchange.answer(at + 20 * MS, 1) == Answer::Took(20 * MS)
        });
        measured.count()
    }

    #[test]
    fn a_connection_joined_in_the_middle_is_measured_after_so_many_calm_exchanges() {
        let mut exchange = Exchange::joined(1_000 * MS, 1);
        assert_eq!(exchange.answer(1_010 * MS, 1), Answer::Nothing, "of a request that nobody saw");
        let calm = u64::from(CALM_JOINED);
        assert_eq!(answered_alone(&mut exchange, 1_020 * MS, calm), 0);
        assert_eq!(answered_alone(&mut exchange, 1_020 * MS + calm * 25 * MS, 5), 5, "and no opening");
    }

    #[test]
    fn a_connection_joined_in_the_middle_is_measured_after_silence() {
        let mut exchange = Exchange::joined(1_000 * MS, 1);
        assert_eq!(answered_alone(&mut exchange, 1_000 * MS + QUIET_NS, 3), 3);
        let mut exchange = Exchange::joined(1_000 * MS, 1);
        assert_eq!(answered_alone(&mut exchange, 999 * MS + QUIET_NS, 3), 0, "not yet silent for long");
    }

    #[test]
    fn of_two_users_who_seem_to_take_turns_next_to_nothing_is_measured_once_joined() {
        let (mut measured, mut answers) = (0, 0);
        for seed in 0..200 {
            let mut exchange = None;
            // Each asks 1 to 20 ms after its answer, which takes 60: a request is always open.
            let (mut random, mut due) = (seed, [(1_000 * MS, true), (1_033 * MS, true)]);
            for _ in 0..2_000 {
                let who = usize::from(due[1].0 < due[0].0);
                let (at, asks) = due[who];
                random = u64::wrapping_add(u64::wrapping_mul(random, 6_364_136_223_846_793_005), 1_442_695);
                let think = MS + (random >> 33) % (19 * MS);
                due[who] = (at + if asks { 60 * MS } else { think }, !asks);
                if at < 1_200 * MS {
                    continue; // nobody watches yet
                }
                let exchange = exchange.get_or_insert_with(|| Exchange::joined(at, 1));
                if asks {
                    exchange.ask(at, 1);
                } else {
                    answers += 1;
                    measured += u32::from(matches!(exchange.answer(at, 1), Answer::Took(_)));
                }
            }
        }
        assert!(measured < answers / 200, "{measured} of {answers}");
    }

    #[test]
    fn housekeeping_is_known_by_its_size_with_and_without_tls() {
        for size in [9, 13, 17, 22, 26, 30, 34] {
            assert!(is_control(size) && is_control(size + TLS_RECORD));
        }
        assert!(!is_control(58) && !is_control(32) && !is_control(0), "an empty health check is a request");
    }

    proptest! {
        #[test]
        fn what_is_measured_lies_between_a_request_and_its_answer(steps in prop::collection::vec((any::<bool>(), 1_u64..300 * MS), 1..200)) {
            let (mut exchange, mut now, mut open) = (Exchange::new(), 1_000 * MS, None);
            for (asks, step) in steps {
                now += step;
                if asks {
                    exchange.ask(now, 0);
                    open = open.or(Some(now));
                } else if let Answer::Took(took) = exchange.answer(now, 0) {
                    prop_assert_eq!(Some(now - took), open);
                    open = None;
                } else {
                    open = None;
                }
            }
        }
    }
}
