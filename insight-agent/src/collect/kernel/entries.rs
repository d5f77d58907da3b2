//! Counts what the programs keep: see `insight-ebpf/src/entries.rs`.
//!
//! The kernel walks the entries of the table of sockets when somebody reads a walk to its end, and so says
//! what is there, whatever events were missed. The link is made with the programs, while the agent may;
//! opening a walk of it and reading that takes no capability since 5.19, as all else that is done with open maps.
//!
//! **Cost**: about 70 ns an entry. A walk that takes less than a millisecond of CPU, of some 14,000 entries, is
//! made for each snapshot, and after a longer one as much time passes as keeps walks to one part in 500 of a CPU:
//! with 200,000 sockets there is one in seven seconds. The figure is of the last walk.
//!
//! Where the kernel does not carry it there is no figure, and no measurement fails.

use super::Problem;
use super::load::problem_of;
use crate::model::kernel::Entries;
use aya::Ebpf;
use aya::maps::{Array, Map, MapData, MapError};
use aya::programs::{Iter, ProgramError};
use insight_common::kernel::layout::{
    LISTENER, MAX_PEERS, Role, WALK_WORDS, WALKED_SAMPLED, WalkWords, sampled_counter, walked_socket,
};
use nix::time::{ClockId, clock_gettime};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The program's name in the object.
const PROGRAM: &str = "entry_walk";

/// What it walks, as the kernel calls it.
const TARGET: &str = "bpf_sk_storage_map";

/// The table.
const TABLE: &str = "SOCKETS";

/// A walk of less is made for each snapshot.
const CHEAP: Duration = Duration::from_millis(1);

/// Of a longer one, so many times its duration passes until the next.
const REST: u32 = 500;

/// How often a walk may be told to go on: each time it has seen a million entries.
const RESUMPTIONS: u32 = 64;

/// Commands and the attach type, of the kernel's `linux/bpf.h`.
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_ITER_CREATE: libc::c_long = 33;
const BPF_TRACE_ITER: u32 = 28;

/// Walks over one table.
#[derive(Debug)]
pub struct Walks {
    link: OwnedFd,
    /// Held for as long as a walk takes: there is one at a time, for they count in the same place.
    state: Mutex<Walked>,
}

/// What the programs write, and what came of the walks so far.
struct Walked {
    words: Array<MapData, WalkWords>,
    found: Option<Entries>,
    /// **None**: with the next snapshot.
    not_before: Option<Instant>,
    has_failed: bool,
}

impl fmt::Debug for Walked {
    /// aya's maps have no text of their own.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Walked").field("found", &self.found).finish_non_exhaustive()
    }
}

impl Walks {
    /// Loads the program of a loaded object and binds it to the table.
    ///
    /// # Errors
    /// The kernel cannot walk such a table, or refuses: entries are not counted.
    pub fn open(ebpf: &mut Ebpf, btf: &aya::Btf) -> Result<Self, Problem> {
        Self::open_over(ebpf, btf, TABLE)
    }

    /// As [`Walks::open`], over the map of that name.
    fn open_over(ebpf: &mut Ebpf, btf: &aya::Btf, table: &str) -> Result<Self, Problem> {
        let absent =
            |name: &str| refused("open the maps of", &MapError::InvalidName { name: name.to_owned() });
        let words = ebpf.take_map("WALKED").ok_or_else(|| absent("WALKED"))?;
        let words = Array::try_from(words).map_err(|error| refused("open the maps of", &error))?;
        let program = load(ebpf, btf).map_err(|error| refused("load", &error))?;
        let map = ebpf.map(table).and_then(descriptor).ok_or_else(|| absent(table))?;
        let link = link(program.as_fd(), map).map_err(|error| refused("attach", &error))?;
        Ok(Self {
            link,
            state: Mutex::new(Walked { words, found: None, not_before: None, has_failed: false }),
        })
    }

    /// Entries now, or a while ago where there are very many. **None**: they could not be walked, which is
    /// said in the log, once.
    pub fn entries(&self) -> Option<Entries> {
        // A walk that panicked has left nothing that the next one reads.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.not_before.is_some_and(|due| Instant::now() < due) {
            return state.found.clone();
        }
        let before = cpu_time();
        state.found = match self.walk(&mut state.words) {
            Ok(words) => Some(entries_of(&words)),
            Err(error) => {
                if !state.has_failed {
                    tracing::warn!("walk the table of sockets: {error}: its entries are not counted");
                }
                state.has_failed = true;
                None
            }
        };
        let took = cpu_time().saturating_sub(before);
        state.not_before = rest_after(took).map(|rest| Instant::now() + rest);
        state.found.clone()
    }

    fn walk(&self, words: &mut Array<MapData, WalkWords>) -> io::Result<WalkWords> {
        words.set(0, [0; WALK_WORDS], 0).map_err(io::Error::other)?;
        read(open(self.link.as_fd())?)?;
        words.get(&0, 0).map_err(io::Error::other)
    }
}

fn refused(what: &str, error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut problem = problem_of(&format!("{what} program {PROGRAM}"), error, false);
    problem.detail = format!("count the entries of the table of sockets: {}", problem.detail);
    problem
}

/// Loads the program, and gives a descriptor of it.
fn load(ebpf: &mut Ebpf, btf: &aya::Btf) -> Result<OwnedFd, ProgramError> {
    let program: &mut Iter = ebpf.program_mut(PROGRAM).ok_or(ProgramError::NotLoaded)?.try_into()?;
    program.load(TARGET, btf)?;
    Ok(program.fd()?.as_fd().try_clone_to_owned()?)
}

/// The descriptor of a map of the object. **None**: it is of a kind that the object has none of.
fn descriptor(map: &Map) -> Option<BorrowedFd<'_>> {
    match map {
        Map::SkStorage(map) | Map::Array(map) => Some(map.fd().as_fd()),
        _ => None,
    }
}

/// After how long the next walk may begin. **None**: at any time.
fn rest_after(took: Duration) -> Option<Duration> {
    (took >= CHEAP).then(|| took.saturating_mul(REST))
}

/// What this thread has used: on a busy machine a walk may wait for longer than it takes.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn entries_of(words: &WalkWords) -> Entries {
    let of = |role: u8| walked_socket(role).map_or(0, |at| words[at]);
    let groups = Role::ALL.into_iter().flat_map(|role| (0..MAX_PEERS as u8).map(move |peer| (role, peer)));
    let sampled = groups.filter_map(|(role, peer)| {
        let at = sampled_counter(role as u8, peer)?;
        let count = words[WALKED_SAMPLED + at as usize];
        (count > 0).then_some(((role, peer), count))
    });
    Entries {
        connected: of(Role::Connected as u8),
        accepted: of(Role::Accepted as u8),
        listeners: of(LISTENER),
        sampled: sampled.collect(),
    }
}

// ---- the kernel's calls -----------------------------------------------------------------------

/// The part of `union bpf_attr` for BPF_LINK_CREATE of a walk.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    iter_info: u64,
    iter_info_len: u32,
    padding: u32,
}

/// The part of it for BPF_ITER_CREATE.
#[repr(C)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

/// Binds a walk's program to the map whose entries it walks: `union bpf_iter_link_info` is its descriptor.
fn link(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // Descriptors are not negative while they are borrowed.
    let info: u32 = map.as_raw_fd().cast_unsigned();
    let mut attributes = LinkCreate {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        target_fd: 0,
        attach_type: BPF_TRACE_ITER,
        flags: 0,
        iter_info: (&raw const info) as u64,
        iter_info_len: size_of_val(&info) as u32,
        padding: 0,
    };
    bpf(BPF_LINK_CREATE, &mut attributes)
}

/// A new walk, which begins when it is read.
fn open(link: BorrowedFd<'_>) -> io::Result<File> {
    let mut attributes = IterCreate { link_fd: link.as_raw_fd().cast_unsigned(), flags: 0 };
    bpf(BPF_ITER_CREATE, &mut attributes).map(File::from)
}

/// One of the two commands above with its attributes. Both give a descriptor.
fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<OwnedFd> {
    #[expect(unsafe_code, reason = "aya binds no walk to a map")]
    // SAFETY: the attributes, and what those of a link point to, outlive the call; the kernel reads as many
    // bytes as it is told and writes none.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    #[expect(unsafe_code, reason = "the kernel gives a number")]
    // SAFETY: a descriptor that was just made for this caller, and that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(result as RawFd) })
}

/// Reads a walk to its end, which is what makes the kernel walk. The programs write nothing.
pub(super) fn read(mut walk: File) -> io::Result<()> {
    let mut buffer = [0; 64];
    let mut resumptions = 0;
    loop {
        match walk.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && resumptions < RESUMPTIONS => {
                resumptions += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::kernel::load::tests::bare;
    use crate::model::kernel::{Reason, State};
    use insight_lab::skip::{SkipReason, skip};

    #[test]
    fn a_walk_that_is_cheap_is_always_made_and_a_long_one_once_in_500_times_its_duration() {
        assert_eq!(rest_after(Duration::from_micros(999)), None);
        assert_eq!(rest_after(Duration::from_millis(10)), Some(Duration::from_secs(5)));
    }

    #[test]
    fn words_are_told_by_role_and_group_and_zeros_are_left_out() {
        let mut words = [0; WALK_WORDS];
        words[..3].copy_from_slice(&[5, 6, 7]);
        words[WALKED_SAMPLED + sampled_counter(Role::Accepted as u8, 9).unwrap() as usize] = 4;
        let found = entries_of(&words);
        assert_eq!((found.connected, found.accepted, found.listeners), (5, 6, 7));
        assert_eq!(found.sampled.into_iter().collect::<Vec<_>>(), [((Role::Accepted, 9), 4)]);
    }

    #[test]
    fn what_cannot_be_walked_is_a_problem_with_the_kernels_answer() {
        let name = "what_cannot_be_walked_is_a_problem_with_the_kernels_answer";
        if !nix::unistd::Uid::effective().is_root() {
            return skip(name, SkipReason::Missing("loading programs into the kernel needs root"));
        }
        let Some((mut ebpf, btf)) = bare() else {
            return skip(name, SkipReason::Missing("this kernel has no types of its own"));
        };
        // An array is walked by other programs.
        let problem = Walks::open_over(&mut ebpf, &btf, "SAMPLED").unwrap_err();
        assert_eq!(problem.state, State::Failed(Reason::Refused), "{problem:?}");
        assert!(
            problem
                .detail
                .starts_with("count the entries of the table of sockets: attach program entry_walk")
        );
        let again = Walks::open(&mut ebpf, &btf).unwrap_err();
        assert!(again.detail.contains("WALKED"), "its map is taken: {again:?}");
    }
}
