//! One turn of a worker's event loop: what it last read, and where it writes next.

use super::layout::Role;
use super::loss::Loss;

/// What a thread last read in its present turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Turn {
    /// When it read. 0: it has not.
    pub read_ns: u64,
    /// The socket, by its address in the kernel.
    pub socket: u64,
    /// A [`Role`].
    pub role: u8,
    /// The number of that socket's group.
    pub group: u8,
    /// Fills the entry up.
    pub unused: [u8; 6],
}

/// Which way a forwarder's bytes go, told by the socket that they are written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Direction {
    /// To a socket that it connected, upstream: a request.
    Up = 0,
    /// To a socket that it accepted, downstream: an answer.
    Down = 1,
}

impl Direction {
    /// Both, by their number.
    pub const ALL: [Self; 2] = [Self::Up, Self::Down];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// Of a write to a socket with this [`Role`].
    #[inline(always)]
    pub const fn of_write(role: u8) -> Self {
        if role == Role::Accepted as u8 { Self::Down } else { Self::Up }
    }
}

/// What looking for the read behind a write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum PairOutcome {
    /// Read on one side and written on the other in one turn: a residence.
    Paired = 0,
    /// The thread had read nothing in this turn: the write comes after a wait, or from a thread
    /// that another one handed it to.
    NoRead = 1,
    /// Written to the socket that was read from: an answer, not a forwarding.
    SameSocket = 2,
    /// Written to another socket of the same side.
    SameRole = 3,
}

/// How many outcomes there are.
pub const PAIR_OUTCOMES: u32 = 4;

/// Counters in the map, of each forwarder.
pub const PAIR_COUNTERS: u32 = PAIR_OUTCOMES * Direction::ALL.len() as u32;

impl PairOutcome {
    /// Every outcome, by its number.
    pub const ALL: [Self; PAIR_OUTCOMES as usize] =
        [Self::Paired, Self::NoRead, Self::SameSocket, Self::SameRole];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paired => "paired",
            Self::NoRead => "no_read",
            Self::SameSocket => "same_socket",
            Self::SameRole => "same_role",
        }
    }

    /// The index of a forwarder's counter of it.
    #[inline(always)]
    pub const fn counter(self, forwarder: u8, direction: Direction) -> u32 {
        forwarder as u32 * PAIR_COUNTERS + direction as u32 * PAIR_OUTCOMES + self as u32
    }

    /// What residence loses by it. **None**: nothing, it is a sample.
    pub const fn loss(self) -> Option<Loss> {
        match self {
            Self::Paired => None,
            Self::NoRead => Some(Loss::Unstamped),
            Self::SameSocket => Some(Loss::SameSocket),
            Self::SameRole => Some(Loss::SameRole),
        }
    }
}

impl Turn {
    /// Of a thread that has read nothing in it.
    #[inline(always)]
    pub const fn none() -> Self {
        Self { read_ns: 0, socket: 0, role: 0, group: 0, unused: [0; 6] }
    }

    /// The thread that read as this says writes to `socket`.
    #[inline(always)]
    pub const fn written(&self, socket: u64, role: u8) -> PairOutcome {
        if self.read_ns == 0 {
            PairOutcome::NoRead
        } else if self.socket == socket {
            PairOutcome::SameSocket
        } else if self.role == role {
            PairOutcome::SameRole
        } else {
            PairOutcome::Paired
        }
    }

    /// How long ago it read. **Unit**: ns.
    #[inline(always)]
    pub const fn took_ns(&self, now: u64) -> u64 {
        now.saturating_sub(self.read_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(role: Role) -> Turn {
        Turn { read_ns: 100, socket: 1, role: role as u8, group: 0, unused: [0; 6] }
    }

    #[test]
    fn what_was_read_downstream_goes_up_and_back() {
        let (connected, accepted) = (Role::Connected as u8, Role::Accepted as u8);
        assert_eq!(turn(Role::Accepted).written(2, connected), PairOutcome::Paired);
        assert_eq!(turn(Role::Connected).written(2, accepted), PairOutcome::Paired);
        assert_eq!(Direction::of_write(connected), Direction::Up);
        assert_eq!(Direction::of_write(accepted), Direction::Down);
        assert_eq!(turn(Role::Accepted).took_ns(150), 50);
        assert_eq!(turn(Role::Accepted).took_ns(90), 0, "another CPU's clock");
    }

    #[test]
    fn an_answer_to_oneself_and_a_write_on_the_same_side_are_no_forwarding() {
        assert_eq!(turn(Role::Accepted).written(1, Role::Accepted as u8), PairOutcome::SameSocket);
        assert_eq!(turn(Role::Accepted).written(2, Role::Accepted as u8), PairOutcome::SameRole);
    }

    #[test]
    fn a_turn_in_which_nothing_was_read_pairs_with_nothing() {
        assert_eq!(Turn::none().written(0, Role::Accepted as u8), PairOutcome::NoRead);
    }

    #[test]
    fn every_outcome_of_every_direction_has_its_own_counter_and_only_pairs_are_no_loss() {
        let mut expected = 0;
        for (number, direction) in Direction::ALL.into_iter().enumerate() {
            assert_eq!(direction as usize, number);
            for outcome in PairOutcome::ALL {
                assert_eq!(outcome.counter(0, direction), expected);
                assert_eq!(outcome.loss().is_none(), outcome == PairOutcome::Paired);
                expected += 1;
            }
        }
        assert_eq!(expected, PAIR_COUNTERS);
    }
}
