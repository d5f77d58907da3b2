//! Sockets that were open before the programs: see `insight-ebpf/src/seeding.rs`.
//!
//! The kernel walks the sockets of the network namespace that the walk is opened in. So it is
//! opened once in each namespace of the scope, on a thread that enters it and ends; without such a
//! scope, in the agent's own namespace. What fails here fails no measurement: sockets that open
//! later are measured all the same.

use super::btf::Btf;
use super::load::problem_of;
use super::offsets::{self, NAMESPACE, Offsets};
use super::settings::Scope;
use super::spec::Offset;
use super::{Problem, entries, hooks};
use crate::model::kernel::{Reason, State};
use aya::Ebpf;
use aya::programs::iter::IterLink;
use aya::programs::{Iter, ProgramError};
use insight_common::kernel::loss::Measurement;
use nix::sched::{CloneFlags, setns};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Its name, beside those of the measurements.
pub const NAME: &str = "seeding";

/// The program's name in the object.
const PROGRAM: &str = "socket_walk";

/// What the walk reads, beside what the socket table does.
pub const OFFSETS: [Offset; 2] = hooks::TCP;

/// Whether a measurement is of sockets, so that those that are open already are worth a walk.
pub fn serves(measurement: Measurement) -> bool {
    use Measurement::{Drops, QdiscWait, RunqueueWait, SoftirqWait};
    !matches!(measurement, Drops | QdiscWait | RunqueueWait | SoftirqWait)
}

/// Why nothing is walked where nothing runs that the walk serves: as the first such that was `asked` for;
/// else for nobody asked.
pub fn idle(asked: &BTreeSet<Measurement>, problems: &BTreeMap<Measurement, Problem>) -> Problem {
    let served = asked.iter().filter(|measurement| serves(**measurement));
    served.filter_map(|measurement| problems.get(measurement)).next().cloned().unwrap_or_else(|| Problem {
        state: State::Disabled(Reason::Off),
        detail: "enter sockets that were open before: no measurement of sockets is asked for".to_owned(),
    })
}

/// Whether this kernel can walk its sockets, and whether that is of use; adds the walk's offsets.
///
/// # Errors
/// It cannot, or nothing would be measured on what it finds: it is disabled.
pub fn check(btf: &Btf<'_>, into: &mut Offsets) -> Result<(), Problem> {
    let disabled = |reason, text: String| Problem {
        state: State::Disabled(reason),
        detail: format!("enter sockets that were open before: {text}"),
    };
    // The kernel has been able to walk for longer than it has had what is measured on old sockets.
    hooks::DATA_READY.check(btf).map_err(|error| disabled(Reason::HookAbsent, error.to_string()))?;
    let resolved =
        offsets::resolve(btf, &NAMESPACE, into).and_then(|()| offsets::resolve(btf, &OFFSETS, into));
    resolved.map_err(|error| disabled(Reason::MemberAbsent, error.to_string()))
}

/// Walks all sockets of the scope once. Gives how long that took.
///
/// # Errors
/// Not all could be walked; those of other namespaces have been.
pub fn run(ebpf: &mut Ebpf, btf: &aya::Btf, scope: &Scope) -> Result<Duration, Problem> {
    let refused = |error: ProgramError| {
        problem_of(&format!("load program {PROGRAM}"), &error, is_refused_permission(&error))
    };
    let program = ebpf.program_mut(PROGRAM).ok_or(ProgramError::NotLoaded).map_err(refused)?;
    let program: &mut Iter = program.try_into().map_err(refused)?;
    program.load("tcp", btf).map_err(refused)?;
    let started = Instant::now();
    let mut found = Ok(());
    if scope.namespace_paths.is_empty() {
        found = walk(program, None);
    }
    for path in &scope.namespace_paths {
        // The first failure is the one that is told.
        found = found.and(walk(program, Some((path, &scope.namespaces))));
    }
    found.map(|()| started.elapsed())
}

/// Walks the sockets of one network namespace, which must be one of those numbers. **None**: of the
/// thread's own.
fn walk(program: &mut Iter, namespace: Option<(&Path, &[u32])>) -> Result<(), Problem> {
    let attach = |program: &mut Iter| -> Result<IterLink, ProgramError> {
        let link = program.attach()?;
        program.take_link(link)
    };
    let link = attach(program).map_err(|error| {
        problem_of(&format!("attach program {PROGRAM}"), &error, is_refused_permission(&error))
    })?;
    let Some((path, known)) = namespace else {
        return read(link).map_err(|error| failed(Reason::Refused, &format!("read the walk: {error}")));
    };
    let absent = |error: io::Error| {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        let (reason, hint) = match denied {
            true => (Reason::Permission, ": grant CAP_SYS_ADMIN"),
            false => (Reason::NoNamespace, ""),
        };
        failed(reason, &format!("walk the scope's namespace {}: {error}{hint}", path.display()))
    };
    let folder = File::open(path).map_err(absent)?;
    let inum = folder.metadata().map_err(absent)?.ino();
    if !known.iter().any(|number| u64::from(*number) == inum) {
        return Err(absent(io::Error::other(format!(
            "it has become another one, number {inum}: restart the agent"
        ))));
    }
    // Entering changes the thread that does it, for good.
    let entered = std::thread::scope(|threads| {
        let walker = std::thread::Builder::new().name("walk".into()).spawn_scoped(threads, || {
            setns(&folder, CloneFlags::CLONE_NEWNET)?;
            read(link)
        });
        walker.and_then(|walker| {
            walker.join().unwrap_or_else(|_| Err(io::Error::other("the thread that reads the walk panicked")))
        })
    });
    entered.map_err(absent)
}

/// Walks, where this thread is.
fn read(link: IterLink) -> io::Result<()> {
    entries::read(link.into_file().map_err(io::Error::other)?)
}

fn failed(reason: Reason, detail: &str) -> Problem {
    let detail = format!("enter sockets that were open before: {detail}");
    Problem { state: State::Failed(reason), detail }
}

/// Whether the kernel refused for want of a capability, and not for what the program does.
fn is_refused_permission(error: &ProgramError) -> bool {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            io_error.raw_os_error() == Some(libc::EPERM) && verifier_log.to_string().is_empty()
        }
        ProgramError::SyscallError(call) => call.io_error.raw_os_error() == Some(libc::EPERM),
        _ => false,
    }
}
