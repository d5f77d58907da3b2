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
}

/// An entry as the loader writes it.
pub type ThreadWords = [u64; size_of::<Thread>() / 8];

impl Thread {
    /// A thread of a process of which nothing has been seen.
    #[inline(always)]
    pub const fn of(process: u32) -> Self {
        Self { turn: Turn::none(), runnable_ns: 0, process: process as u64 }
    }

    /// The same as the loader writes it.
    pub fn words_of(process: u32) -> ThreadWords {
        let mut words = ThreadWords::default();
        words[core::mem::offset_of!(Thread, process) / 8] = u64::from(process);
        words
    }

    /// Whose thread an entry is.
    pub const fn process_of(words: &ThreadWords) -> u64 {
        words[core::mem::offset_of!(Thread, process) / 8]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_words_are_the_programs_entry() {
        let words = Thread::words_of(77);
        assert_eq!(words.iter().sum::<u64>(), 77, "all else is 0");
        assert_eq!(Thread::process_of(&words), Thread::of(77).process);
        let none = Thread::of(77).turn;
        assert_eq!((none.read_ns, none.socket, none.role, none.peer), (0, 0, 0, 0));
    }
}
