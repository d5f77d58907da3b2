//! Which processes forward, and their threads, as the programs look them up.

use super::settings::Forwarders;
use crate::collect::host::{Root, Source};
use aya::Ebpf;
use aya::maps::{HashMap, Map, MapError};
use aya::sys::SyscallError;
use insight_common::kernel::thread::{Thread, ThreadWords, forwarder_of, listed};
use std::collections::BTreeMap;

/// The kernel's flag: only if there is no such entry.
const NO_EXIST: u64 = 1;

/// Enters processes that forward, with the threads that they have, and forgets all others. From then on
/// the programs follow threads that begin and end.
///
/// # Errors
/// There are more than the maps hold; those that fit are entered.
pub(super) fn follow(ebpf: &mut Ebpf, forwarders: &Forwarders) -> Result<(), MapError> {
    let wanted = &forwarders.processes;
    let mut map: HashMap<_, u32, u8> = HashMap::try_from(named(ebpf, "FORWARDERS")?)?;
    let entries: BTreeMap<u32, u8> = map.iter().filter_map(Result::ok).collect();
    let (mut come, mut gone) = (Vec::new(), Vec::new());
    // Another forwarder's now, as where another process got the number of one that ended: it begins anew.
    let is_same = |pid: &u32| wanted.get(pid).is_some_and(|number| forwarder_of(entries[pid]) == *number);
    for pid in entries.keys().filter(|pid| !is_same(pid)) {
        map.remove(pid)?;
        gone.push(*pid);
    }
    let mut full = Ok(());
    for (pid, number) in wanted.iter().filter(|(pid, number)| entries.get(pid) != Some(&listed(**number))) {
        match map.insert(pid, listed(*number), 0) {
            Ok(()) => come.push((*pid, *number)),
            Err(error) => full = full.and(Err(error)),
        }
    }
    let mut threads: HashMap<_, u32, ThreadWords> = HashMap::try_from(named(ebpf, "THREADS")?)?;
    if !gone.is_empty() {
        let entries: Vec<_> = threads.iter().filter_map(Result::ok).collect();
        for (thread, words) in entries {
            if gone.contains(&Thread::process_of(&words)) {
                // An error says that it has ended since.
                let _ = threads.remove(&thread);
            }
        }
    }
    let root = Root::default();
    let root = Source::new(&root);
    for (pid, number) in come {
        // A process that has ended meanwhile has none.
        for thread in root.numbers(format!("proc/{pid}/task")) {
            let entered = threads.insert(thread, Thread::words_of(number, pid, thread), NO_EXIST);
            // It began after its process was entered, and was seen.
            full = full.and(entered.or_else(|error| if is_there(&error) { Ok(()) } else { Err(error) }));
        }
    }
    full
}

fn is_there(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(SyscallError { io_error, .. })
        if io_error.raw_os_error() == Some(libc::EEXIST))
}

fn named<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map, MapError> {
    ebpf.map_mut(name).ok_or_else(|| MapError::InvalidName { name: name.to_owned() })
}
