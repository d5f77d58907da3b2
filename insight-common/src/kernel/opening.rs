//! How a connection begins: connecting on one side, waiting to be accepted on the other.

use super::layout::Counter;
use super::tick::Tick;

/// The kernel's error numbers that a failed connection ends with.
const ECONNREFUSED: u32 = 111;
const ETIMEDOUT: u32 = 110;
const EHOSTUNREACH: u32 = 113;
const ENETUNREACH: u32 = 101;

/// A connection that is not in use yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Opening {
    /// Connected: when it began to connect. Accepted: when it was established. None: it is in use,
    /// or its begin was not seen.
    pub since: Tick,
    /// Accepted: when its first bytes came.
    pub ready: Tick,
}

impl Opening {
    /// Of a connection that began unseen.
    #[inline(always)]
    pub const fn unseen() -> Self {
        Self { since: Tick::NONE, ready: Tick::NONE }
    }

    /// Of one that begins now.
    #[inline(always)]
    pub const fn at(now: u64) -> Self {
        Self { since: Tick::of(now), ready: Tick::NONE }
    }

    /// Bytes came: the application has a reason to read from now on.
    #[inline(always)]
    pub const fn on_ready(&mut self, now: u64) {
        if self.since.is_some() && !self.ready.is_some() {
            self.ready = Tick::of(now);
        }
    }

    /// It is used for the first time. Gives how long it had waited for that. **Unit**: ns.
    /// **None**: it is in use already. A read had nothing to wait for before bytes came, so the
    /// peer's own time is not in it.
    #[inline(always)]
    pub const fn first_use(&mut self, now: u64, is_read: bool) -> Option<u64> {
        if !self.since.is_some() {
            return None;
        }
        let from = if is_read { self.since.or_later(self.ready) } else { self.since };
        *self = Self::unseen();
        Some(from.until_ns(now))
    }
}

/// Why a connection was not established, by the error that its socket holds then.
#[inline(always)]
pub const fn failure(error: u32) -> Counter {
    match error {
        0 => Counter::ConnectGaveUp,
        ECONNREFUSED => Counter::ConnectRefused,
        ETIMEDOUT => Counter::ConnectTimedOut,
        EHOSTUNREACH | ENETUNREACH => Counter::ConnectUnreachable,
        _ => Counter::ConnectOther,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_read_waits_since_the_first_bytes_and_a_write_since_the_connection() {
        let established = || Opening::at(10 * MS);
        let mut quiet = established();
        quiet.on_ready(60 * MS);
        quiet.on_ready(70 * MS);
        let waited = quiet.first_use(100 * MS, true).unwrap();
        assert!(waited.abs_diff(40 * MS) < 2_048, "{waited}");
        assert_eq!(quiet.first_use(110 * MS, true), None, "it is in use");
        let mut greeted = established();
        greeted.on_ready(60 * MS);
        let waited = greeted.first_use(100 * MS, false).unwrap();
        assert!(waited.abs_diff(90 * MS) < 2_048, "{waited}");
    }

    #[test]
    fn bytes_before_the_connection_is_whole_are_no_reason_to_count_from_before() {
        // TCP Fast Open: the stamp of the bytes is the older one.
        let mut opening = Opening { since: Tick::of(50 * MS), ready: Tick::of(20 * MS) };
        let waited = opening.first_use(80 * MS, true).unwrap();
        assert!(waited.abs_diff(30 * MS) < 2_048, "{waited}");
    }

    #[test]
    fn a_connection_that_began_unseen_waits_for_nothing() {
        let mut opening = Opening::unseen();
        opening.on_ready(10 * MS);
        assert_eq!(opening.first_use(20 * MS, true), None);
    }

    #[test]
    fn every_error_has_its_class() {
        let expected = [
            (0, Counter::ConnectGaveUp),
            (111, Counter::ConnectRefused),
            (110, Counter::ConnectTimedOut),
            (113, Counter::ConnectUnreachable),
            (101, Counter::ConnectUnreachable),
            (104, Counter::ConnectOther),
        ];
        for (error, counter) in expected {
            assert_eq!(failure(error), counter, "{error}");
        }
    }
}
