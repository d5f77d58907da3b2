//! What is kept per thread of a forwarder.

use super::turn::Turn;

/// A process that the loader found to forward.
pub const LISTED: u8 = 1;

/// A process that one of those forked.
pub const FORKED: u8 = 2;

/// One thread. Its hooks run one after the other: where it reads and writes, and on the CPU that
/// takes it or lets it go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Thread {
    /// What it last read in its present turn.
    pub turn: Turn,
    /// Since when it could use a CPU and has none. 0: it runs, sleeps, or nobody saw it begin.
    pub runnable_ns: u64,
    /// Its process.
    pub process: u64,
    /// Counts its sleeps, from a beginning of its own, so that no two threads' bursts are taken for one.
    pub sleeps: u64,
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
        Self { turn: Turn::none(), runnable_ns: 0, process: process as u64, sleeps: beginning(thread) }
    }

    /// The same as the loader writes it.
    pub fn words_of(process: u32, thread: u32) -> ThreadWords {
        let mut words = ThreadWords::default();
        words[core::mem::offset_of!(Thread, process) / 8] = u64::from(process);
        words[core::mem::offset_of!(Thread, sleeps) / 8] = beginning(thread);
        words
    }

    /// Whose thread an entry is.
    pub const fn process_of(words: &ThreadWords) -> u64 {
        words[core::mem::offset_of!(Thread, process) / 8]
    }

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
        assert_eq!(words.iter().sum::<u64>(), 77 + none.sleeps, "all else is 0");
        assert_eq!(Thread::process_of(&words), none.process);
        assert_eq!((none.turn.read_ns, none.turn.socket, none.turn.role, none.turn.peer), (0, 0, 0, 0));
    }

    #[test]
    fn bursts_end_with_a_read_or_a_sleep_and_are_of_one_thread() {
        let mut thread = Thread::of(77, 78);
        let first = thread.burst();
        thread.turn.read_ns = 1 << 32;
        let read = thread.burst();
        thread.sleep();
        let second = thread.burst();
        thread.sleep();
        let mut all = [0, first, read, second, thread.burst(), Thread::of(77, 79).burst()];
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
    }
}
