//! What is kept per thread of a forwarder.

use super::turn::Turn;

/// Of which forwarder a process is, as the table of processes has it: the number of one that the loader found.
pub const fn listed(forwarder: u8) -> u8 {
    forwarder
}

/// As [`listed`], of a process that one of those forked.
#[inline(always)]
pub const fn forked(how: u8) -> u8 {
    how | FORKED
}

/// Whether it counts only until it becomes another program.
#[inline(always)]
pub const fn is_forked(how: u8) -> bool {
    how & FORKED != 0
}

/// The forwarder's number.
#[inline(always)]
pub const fn forwarder_of(how: u8) -> u8 {
    how & !FORKED
}

const FORKED: u8 = 1 << 7;

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
    pub process: u32,
    /// The forwarder that it is of.
    pub forwarder: u32,
}

/// The forwarder's thread that a CPU runs: so each read and write finds it without a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Running {
    /// The thread. 0: none, or one that was not seen to come.
    pub thread: u32,
    /// The forwarder that it is of.
    pub forwarder: u32,
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
    /// A thread of a forwarder's process, of which nothing has been seen.
    #[inline(always)]
    pub const fn of(forwarder: u8, process: u32, thread: u32) -> Self {
        let work = Work { turn: Turn::none(), sleeps: beginning(thread) };
        Self { work, runnable_ns: 0, process, forwarder: forwarder as u32 }
    }

    /// The same as the loader writes it.
    pub fn words_of(forwarder: u8, process: u32, thread: u32) -> ThreadWords {
        let mut words = ThreadWords::default();
        words[WHOSE] = whose(process, u32::from(forwarder));
        words[core::mem::offset_of!(Thread, work.sleeps) / 8] = beginning(thread);
        words
    }

    /// Whose thread an entry is.
    pub const fn process_of(words: &ThreadWords) -> u32 {
        let bytes = words[WHOSE].to_ne_bytes();
        u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

/// The word of [`Thread::process`] and [`Thread::forwarder`].
const WHOSE: usize = core::mem::offset_of!(Thread, process) / 8;

/// Two neighbours in one word.
const fn whose(process: u32, forwarder: u32) -> u64 {
    let (p, f) = (process.to_ne_bytes(), forwarder.to_ne_bytes());
    u64::from_ne_bytes([p[0], p[1], p[2], p[3], f[0], f[1], f[2], f[3]])
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
        let words = Thread::words_of(3, 77, 78);
        let none = Thread::of(3, 77, 78);
        let Work { turn, sleeps } = none.work;
        assert_eq!(words.iter().sum::<u64>(), whose(77, 3) + sleeps, "all else is 0");
        assert_eq!((Thread::process_of(&words), none.process, none.forwarder), (77, 77, 3));
        assert_eq!(core::mem::offset_of!(Thread, forwarder), WHOSE * 8 + 4);
        assert_eq!((turn.read_ns, turn.socket, turn.role, turn.group), (0, 0, 0, 0));
    }

    #[test]
    fn a_forked_process_is_of_its_parents_forwarder_and_so_is_what_it_forks() {
        let how = forked(forked(listed(8)));
        assert!(is_forked(how) && !is_forked(listed(8)));
        assert_eq!([how, listed(8)].map(forwarder_of), [8, 8]);
    }

    #[test]
    fn bursts_end_with_a_read_or_a_sleep_and_are_of_one_thread() {
        let mut work = Thread::of(1, 77, 78).work;
        let first = work.burst();
        work.turn.read_ns = 1 << 32;
        let read = work.burst();
        work.sleep();
        let second = work.burst();
        work.sleep();
        let mut all = [0, first, read, second, work.burst(), Thread::of(1, 77, 79).work.burst()];
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
    }
}
