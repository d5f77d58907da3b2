//! Request and first answer on one connection, seen only as bytes that come and go.
//!
//! Without reading HTTP/2, an answer can be told to belong to a request only where nothing else
//! goes on. Such an exchange is *clean*; every other one is counted and not measured. On busy
//! multiplexed connections nearly nothing is clean, and a figure that pretended otherwise would
//! be off by the whole round trip.

mod control;

pub use control::Control;

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

/// Exchanges without a second burst that end a doubt; after a second burst they must take about what the
/// connection's exchanges took before it.
pub const CALM_EXCHANGES: u8 = 2;

/// Evidence that no answer is owed from the opening of a connection.
/// **Unit**: quarters of a bit.
pub const ALONE: u8 = 4 * 16;

/// As [`ALONE`], on a connection that was not watched from its beginning: nobody has seen how its callers
/// came one after the other, which is when two of them meet.
pub const ALONE_JOINED: u8 = 4 * 48;

/// Of one exchange at most so much: one odd distance is no proof.
const MOST_EVIDENCE: u32 = 4 * 4;

/// The finest difference of times, as a power of two. **Unit**: ns.
const TICK_POWER: u32 = 14;

/// Differences of fewer ticks than two to this power say nothing: 131 µs.
const FINEST_BITS: u32 = 3;

/// Exchanges in a row that end the suspicion of two requests at once: each by itself, and each within a
/// quarter, or [`USUAL_NS`], of what the connection's exchanges took before it. In a steady stream of more
/// requests than one at once each would seem to take the rest that its real time leaves of their
/// distance, which is never within a quarter of the whole.
pub const CALM_USUAL: u8 = 3;

/// Differences below this are nobody's answer.
pub const USUAL_NS: u64 = 1_000_000;

/// Silence in both directions before a request. Less is a connection on which more goes on: what follows
/// is measured again after [`CALM_EXCHANGES`].
pub const IDLE_NS: u64 = 500_000;

/// Silence after which an overlapped connection owes no more answers. A service slower than this
/// that is asked twice at once can still mislead, once.
pub const QUIET_NS: u64 = 200_000_000;

/// Nothing was owed when the connection was last silent.
const SURE: u8 = 0;

/// There was enough evidence that nothing is owed.
const EVIDENT: u8 = 1;

/// Joined while it was open: an answer may be owed from before.
const JOINED: u8 = 2;

/// The last exchange that is left out is over. What answered may have been the other side's SETTINGS, and
/// an answer be owed to a request that came with the own ones. If it comes before the next request, none is.
const OPENED: u8 = 3;

/// The next request came before that: nothing but silence or evidence tells.
const UNTOLD: u8 = 4;

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
    /// Whether an answer may be owed without anything that showed it: [`SURE`] to [`UNTOLD`].
    unsure: u8,
    /// Not 0: the open request has come in more than one burst.
    bursts: u8,
    /// Not 0: a second burst raised the doubt, and not only a crowd.
    split: u8,
    /// Evidence that nothing is owed. **Unit**: quarters of a bit.
    evidence: u8,
    /// How long before the open request the last one was. **Unit**: ticks. The greatest: unknown, or more.
    gap: u16,
    /// How long the last measured exchange took, in µs. 0: none was.
    usual_us: u32,
    /// How long exchanges by themselves took of late, on average. **Unit**: ticks. 0: there was none.
    mean_alone: u32,
    /// The same with half of [`Self::gap`] added, which would be steadier if an answer was owed.
    mean_owed: u32,
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
            unsure: 0,
            bursts: 0,
            split: 0,
            evidence: 0,
            gap: 0,
            usual_us: 0,
            mean_alone: 0,
            mean_owed: 0,
        }
    }

    /// Of a connection that has been open for long, and may be in the middle of anything: none of
    /// its exchanges is an opening, and none is measured before 200 ms of silence, or evidence of
    /// [`ALONE_JOINED`] that no answer is owed from before.
    #[inline(always)]
    pub const fn joined(now: u64, skip: u16) -> Self {
        Self { last_answer_ns: now, doubted_ns: now, skipped: skip, unsure: JOINED, ..Self::new() }
    }

    /// Whether its connection is still being set up: one of the first `skip` exchanges.
    #[inline(always)]
    pub const fn is_opening(&self, skip: u16) -> bool {
        self.skipped < skip
    }

    /// Bytes in the request's direction.
    #[inline(always)]
    pub fn ask(&mut self, now: u64) {
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
                self.settle_as(SURE);
            } else if self.unsure == OPENED {
                self.unsure = UNTOLD;
            }
            self.gap =
                if self.last_ask_ns == 0 { u16::MAX } else { ticks(now.saturating_sub(self.last_ask_ns)) };
            // What comes before anybody has asked is nobody's answer.
            let is_first = self.last_ask_ns == 0 && self.unsure != JOINED;
            self.crowded = (silence < IDLE_NS && !is_first) as u8;
            if self.crowded != 0 {
                self.crowd(now);
            }
            self.bursts = 0;
            self.asked_ns = now;
        } else if now.saturating_sub(self.last_ask_ns) > BURST_NS {
            // A new connection's SETTINGS and its first request are two bursts of one opening, too; later
            // than this they could be two requests, of which nothing from before could tell.
            let first = self.bursts == 0 && now.saturating_sub(self.last_ask_ns) <= SPLIT_NS;
            self.bursts = 1;
            if !first {
                self.mixed = 1;
            }
            self.doubted_ns = now;
            self.split = 1;
            self.calm = 0;
            self.evidence = 0;
            self.mean_alone = 0;
            self.crowded = 1;
        }
        self.last_ask_ns = now;
    }

    /// Nothing is owed.
    #[inline(always)]
    const fn settle_as(&mut self, unsure: u8) {
        self.mixed = 0;
        self.doubted_ns = 0;
        self.split = 0;
        self.evidence = 0;
        self.unsure = unsure;
    }

    /// Requests crowd: one that happens to come in silence is seldom alone.
    #[inline(always)]
    const fn crowd(&mut self, now: u64) {
        self.calm = 0;
        if self.doubted_ns == 0 {
            let since = now.saturating_sub(DOUBT_NS);
            self.doubted_ns = if since == 0 { 1 } else { since };
        }
    }

    /// Bytes in the answer's direction; the first `skip` exchanges are left out.
    #[inline(always)]
    pub fn answer(&mut self, now: u64, skip: u16) -> Answer {
        let last_answer_ns = self.last_answer_ns;
        self.last_answer_ns = now;
        let asked = self.asked_ns;
        if asked == 0 {
            // It was a request after all, right behind the last one.
            let overlapped = self.tail != 0 && now.saturating_sub(self.last_ask_ns) >= IDLE_NS;
            if self.unsure == OPENED
                && self.split == 0
                && self.tail == 0
                && now.saturating_sub(last_answer_ns) > BURST_NS
            {
                self.settle_as(SURE);
            }
            self.tail = 0;
            if overlapped {
                self.crowd(now);
            }
            return if overlapped { Answer::Overlapped } else { Answer::Nothing };
        }
        self.asked_ns = 0;
        if self.skipped < skip {
            self.skipped += 1;
            // SETTINGS from before the first request answer nothing.
            let is_greeted = skip == 1 && last_answer_ns != 0;
            if self.skipped == skip && !is_greeted {
                self.unsure = OPENED;
                if self.doubted_ns == 0 {
                    self.doubted_ns = now;
                }
            }
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
        if self.unsure == SURE {
            let us = took / 1_000;
            self.usual_us = if us > u32::MAX as u64 { u32::MAX } else { us as u32 };
        }
        Answer::Took(took)
    }

    /// One more exchange, by itself, that took this long while answers may still be owed: are they?
    #[inline(always)]
    fn settle(&mut self, now: u64, took: u64) {
        let is_split = self.mixed != 0 || self.split != 0;
        if self.unsure >= JOINED && !is_split {
            self.weigh(took);
            let enough = if self.unsure == JOINED { ALONE_JOINED } else { ALONE };
            if self.evidence >= enough {
                self.settle_as(EVIDENT);
            }
            return;
        }
        // Without a figure from before, nothing but silence tells: two callers who began together are as
        // calm as one, for as long as they are even, and each gets the other's answer.
        if is_split && (self.usual_us == 0 || !self.is_usual(took)) {
            self.calm = 0;
            return;
        }
        let enough = if self.mixed != 0 { CALM_USUAL } else { CALM_EXCHANGES };
        self.calm = self.calm.saturating_add(1);
        if self.calm >= enough && now.saturating_sub(self.doubted_ns) >= DOUBT_NS {
            self.settle_as(self.unsure);
        }
    }

    /// Is this the answer to the open request, or to an earlier one, as all are for ever once one is owed?
    ///
    /// An answer that is owed comes when it comes, however late the open request was: a late one leaves it
    /// less time, by as much as the distance to the request before is longer. So the time that it seems to
    /// take becomes steadier with half of that distance added, whether one is owed or several. An answer to
    /// the open request comes later with it, and its time is steadier as it is. By what factor one time is
    /// nearer to its mean than the other is evidence, counted in powers of two. Where requests come evenly
    /// there is none, and nothing is believed.
    #[inline(always)]
    fn weigh(&mut self, took: u64) {
        if self.gap == u16::MAX {
            return;
        }
        let alone = (ticks(took) | 1) as u32;
        let owed = alone + self.gap as u32 / 2;
        if self.mean_alone == 0 {
            self.mean_alone = alone;
            self.mean_owed = owed;
            return;
        }
        let apart = [4 * bits(alone.abs_diff(self.mean_alone)), 4 * bits(owed.abs_diff(self.mean_owed))];
        self.evidence = if apart[1] > apart[0] {
            let more = apart[1] - apart[0];
            self.evidence.saturating_add(if more > MOST_EVIDENCE { MOST_EVIDENCE } else { more } as u8)
        } else {
            self.evidence.saturating_sub((apart[0] - apart[1]) as u8)
        };
        self.mean_alone = nearer(self.mean_alone, alone);
        self.mean_owed = nearer(self.mean_owed, owed);
    }

    /// Whether an exchange took about as long as the last one that was measured.
    #[inline(always)]
    const fn is_usual(&self, took: u64) -> bool {
        let usual = self.usual_us as u64 * 1_000;
        let apart = usual.abs_diff(took);
        apart <= usual / 4 || apart <= USUAL_NS
    }
}

/// In ticks, at most more than a second.
#[inline(always)]
const fn ticks(ns: u64) -> u16 {
    let ticks = ns >> TICK_POWER;
    if ticks > u16::MAX as u64 { u16::MAX } else { ticks as u16 }
}

/// A mean after one more value.
#[inline(always)]
const fn nearer(mean: u32, value: u32) -> u32 {
    mean + value / 8 - mean / 8
}

/// How many bits a difference has, those that say nothing as if they were set.
#[inline(always)]
const fn bits(ticks: u32) -> u32 {
    u32::BITS - (ticks | ((1 << FINEST_BITS) - 1)).leading_zeros()
}

impl Default for Exchange {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
