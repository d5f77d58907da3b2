//! What is kept per thread of a forwarder.

use super::turn::Turn;

/// A process that the loader found to forward.
pub const LISTED: u8 = 1;

/// A process that one of those forked.
pub const FORKED: u8 = 2;

/// What a thread is at. Its hooks run one after the other: where it reads and writes, and on the CPU that
/// takes it or lets it go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Work {
    /// What it last read in its present turn.
    pub turn: Turn,
    /// Counts its sleeps, from a beginning of its own, so that no two threads' bursts are taken for one.
    pub sleeps: u64,
}

/// One thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Thread {
    /// What it was at when it last left its CPU. While it has one, see [`Running`].
    pub work: Work,
    /// Since when it could use a CPU and has none. 0: it runs, sleeps, or nobody saw it begin.
    pub runnable_ns: u64,
    /// Its process.
    pub process: u64,
}

/// The forwarder's thread that a CPU runs: so each read and write finds it without a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Running {
    /// The thread. 0: none, or one that was not seen to come.
    pub thread: u64,
    /// What it is at.
    pub work: Work,
}

/// Where a thread begins to count: far from where others with numbers close to its own do.
#[inline(always)]
const fn beginning(thread: u32) -> u64 {
    thread.wrapping_mul(0x9e37_79b1) as u64
}

/// An entry as the loader writes it.
pub type ThreadWords = [u64; size_of::<Thread>() / 8];

impl Thread {
    /// A thread of a process, of which nothing has been seen.
    #[inline(always)]
    pub const fn of(process: u32, thread: u32) -> Self {
        let work = Work { turn: Turn::none(), sleeps: beginning(thread) };
        Self { work, runnable_ns: 0, process: process as u64 }
    }

    /// The same as the loader writes it.
    pub fn words_of(process: u32, thread: u32) -> ThreadWords {
        let mut words = ThreadWords::default();
        words[core::mem::offset_of!(Thread, process) / 8] = u64::from(process);
        words[core::mem::offset_of!(Thread, work.sleeps) / 8] = beginning(thread);
        words
    }

    /// Whose thread an entry is.
    pub const fn process_of(words: &ThreadWords) -> u64 {
        words[core::mem::offset_of!(Thread, process) / 8]
    }
}

impl Work {
    /// It sleeps: its turn is over.
    #[inline(always)]
    pub fn sleep(&mut self) {
        self.turn.read_ns = 0;
        self.sleeps = self.sleeps.wrapping_add(1);
    }

    /// Which burst its writes to one socket belong to now: those after one read, or after one sleep.
    /// Never 0.
    #[inline(always)]
    pub const fn burst(&self) -> u32 {
        // The two kinds differ in the lowest bit.
        let sleeps = (self.sleeps as u32) << 1;
        if self.turn.read_ns != 0 {
            self.turn.read_ns as u32 | 1
        } else if sleeps != 0 {
            sleeps
        } else {
            2
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_words_are_the_programs_entry() {
        let words = Thread::words_of(77, 78);
        let none = Thread::of(77, 78);
        let Work { turn, sleeps } = none.work;
        assert_eq!(words.iter().sum::<u64>(), 77 + sleeps, "all else is 0");
        assert_eq!(Thread::process_of(&words), none.process);
        assert_eq!((turn.read_ns, turn.socket, turn.role, turn.peer), (0, 0, 0, 0));
    }

    #[test]
    fn bursts_end_with_a_read_or_a_sleep_and_are_of_one_thread() {
        let mut work = Thread::of(77, 78).work;
        let first = work.burst();
        work.turn.read_ns = 1 << 32;
        let read = work.burst();
        work.sleep();
        let second = work.burst();
        work.sleep();
        let mut all = [0, first, read, second, work.burst(), Thread::of(77, 79).work.burst()];
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
    }
}
