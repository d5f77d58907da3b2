//! Which capabilities does which thread keep?
//!
//! Capabilities belong to threads, and a thread inherits them from the one that starts it. So they are
//! given up in this order:
//!
//! 1. [`begin`], before there is a second thread: nothing that is executed later gains any.
//! 2. Threads of the runtime begin with [`keep_none`]; they exist before the listeners are bound.
//! 3. The first thread binds listeners and reads files, starts the kernel and the host thread, and then
//!    calls [`keep_none`] too: what it starts from then on (probing, gRPC) has none.
//! 4. The host thread begins with `Privileges::keep_watching`; the kernel thread ends with
//!    `Privileges::keep_reading` when its programs are loaded.
//!
//! What is kept for good is what finds forwarders among other users' processes, and only where a
//! `[[forwarder]]` asks for something that takes it; and before Linux 5.19 what reads the maps. See the
//! table in `docs/kernels.md`.

use crate::config::Config;
use crate::model::host::Selector;
use aya::util::KernelVersion;
use rustix::io;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// Other users' processes: the links of their program's file and of their sockets.
const PTRACE: CapabilitySet = CapabilitySet::SYS_PTRACE;

/// The folder with those links, which is its owner's alone.
const SEARCH: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;

/// The bpf system call.
const BPF: CapabilitySet = CapabilitySet::BPF;

/// All that loading programs and entering other network namespaces takes.
const LOADING: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SYS_ADMIN);

/// Since then, maps that are held open are read and written without any capability, also where
/// `kernel.unprivileged_bpf_disabled` is set:
/// <https://github.com/torvalds/linux/blob/v5.19/kernel/bpf/syscall.c>, `__sys_bpf`.
const MAPS_ARE_FREE: KernelVersion = KernelVersion::new(5, 19, 0);

/// Before CAP_BPF, CAP_SYS_ADMIN was asked for; and before links (5.7), a program on a cgroup is taken
/// away by its agent, with CAP_NET_ADMIN.
const BPF_IS_NARROW: KernelVersion = KernelVersion::new(5, 8, 0);

/// What the process began with, and what its threads keep of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Privileges {
    held: CapabilitySet,
    watching: CapabilitySet,
}

/// Before the first thread is started: no program that this process executes has more than the process
/// itself, and the capabilities that it has pass on to none. The agent executes nothing: this is for
/// whoever takes it over.
pub fn begin() {
    let result = set_no_new_privs(true).and_then(|()| {
        let own = capabilities(None)?;
        if own.effective.contains(CapabilitySet::SETPCAP) {
            bound()?;
        }
        clear_ambient_capability_set()?;
        set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..own })
    });
    complain(result);
}

/// Empties the bounding set, as far as this kernel has capabilities.
fn bound() -> io::Result<()> {
    for bit in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            // There are no more.
            Err(io::Errno::INVAL) => return Ok(()),
            result => result?,
        }
    }
    Ok(())
}

/// The calling thread gives all capabilities up, for good.
pub fn keep_none() {
    complain(keep(CapabilitySet::empty()));
}

/// What is not held cannot be kept: no error.
fn keep(wanted: CapabilitySet) -> io::Result<()> {
    let own = capabilities(None)?;
    let effective = own.effective & wanted;
    let permitted = own.permitted & wanted;
    set_capabilities(None, CapabilitySets { effective, permitted, inheritable: CapabilitySet::empty() })
}

/// Giving up what one has is always allowed: only a sandbox that forbids the call itself refuses it.
fn complain(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(
            "give up capabilities: {error}: the agent runs on with those that it was started with"
        );
    }
}

impl Privileges {
    /// Of the calling thread, which is to be the first one.
    pub(super) fn of(config: &Config) -> Self {
        let held = capabilities(None).map_or(CapabilitySet::empty(), |own| own.permitted);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let reads = config.kernel.enabled || config.host.enabled;
        let watching = match reads {
            true => {
                warn_of_blindness(&config.forwarders, held);
                watching(&config.forwarders, held, hides_processes(&mounts))
            }
            false => CapabilitySet::empty(),
        };
        Self { held, watching }
    }

    /// The calling thread keeps what finds the configured forwarders.
    pub(super) fn keep_watching(self) {
        complain(keep(self.watching));
    }

    /// As [`Privileges::keep_watching`], for the thread that reads maps, once they are open and `reads`
    /// tells whether they can be read. Writes the one line that says what became of all capabilities.
    ///
    /// With `reloadable`, what loads programs stays permitted and is without effect between two loads.
    pub(super) fn keep_reading(self, reloadable: bool, reads: impl Fn() -> bool) {
        let version = KernelVersion::current().ok();
        let later = if reloadable { LOADING } else { CapabilitySet::empty() };
        let mut wanted = self.watching | reading(version);
        let could = reads();
        complain(keep(wanted | BPF | later).and_then(|()| lower((BPF | later) - wanted)));
        if could && !reads() {
            // Not by this kernel's version, but so it is: a security module may ask for it.
            wanted |= BPF;
            complain(raise(BPF));
        }
        complain(keep(wanted | later));
        self.tell(wanted | later);
    }

    /// Has what loads programs for as long as `load` takes.
    pub(super) fn with_loading<T>(self, load: impl FnOnce() -> T) -> T {
        let before = capabilities(None).map(|own| own.effective);
        complain(raise(LOADING));
        let loaded = load();
        if let Ok(before) = before {
            complain(lower(LOADING - before));
        }
        loaded
    }

    /// The same line where no thread reads maps.
    pub(super) fn tell_without_maps(self) {
        self.tell(self.watching);
    }

    fn tell(self, kept: CapabilitySet) {
        let kept = kept & self.held;
        let dropped = self.held - kept;
        tracing::info!(kept = names(kept), dropped = names(dropped), "capabilities are settled");
    }
}

/// Takes from what is effective, not from what is permitted.
fn lower(these: CapabilitySet) -> io::Result<()> {
    let own = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective: own.effective - these, ..own })
}

/// Makes effective again what is permitted.
fn raise(these: CapabilitySet) -> io::Result<()> {
    let own = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective: own.effective | own.permitted & these, ..own })
}

/// What finding these forwarders takes, of what is held. `hidden`: `/proc` shows nobody the processes
/// of others.
fn watching(selectors: &[Selector], held: CapabilitySet, hidden: bool) -> CapabilitySet {
    let by_link = |of: &Selector| of.process.is_some() || of.port.is_some();
    let mut wanted = CapabilitySet::empty();
    if hidden || selectors.iter().any(by_link) {
        wanted |= PTRACE;
    }
    if selectors.iter().any(|of| of.port.is_some()) {
        // A container's root may lack the narrow one and have the wide one.
        wanted |= if held.contains(SEARCH) { SEARCH } else { CapabilitySet::DAC_OVERRIDE };
    }
    wanted & held
}

/// A forwarder that is not found looks like one that does not run: it is said beforehand.
fn warn_of_blindness(selectors: &[Selector], held: CapabilitySet) {
    let reads_folders = held.intersects(SEARCH | CapabilitySet::DAC_OVERRIDE);
    if held.contains(PTRACE) && reads_folders {
        return;
    }
    for Selector { name, .. } in selectors.iter().filter(|of| of.port.is_some()) {
        tracing::warn!(
            forwarder = name,
            "it is looked for by its port: without CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH no process of another \
             user is found; grant them, or look for it by process, unit or cgroup"
        );
    }
}

/// What reading and writing open maps takes on a kernel, and taking programs away in the end. **None**:
/// its version is not known.
fn reading(version: Option<KernelVersion>) -> CapabilitySet {
    match version {
        Some(version) if version >= MAPS_ARE_FREE => CapabilitySet::empty(),
        Some(version) if version < BPF_IS_NARROW => CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN,
        _ => BPF,
    }
}

/// Whether `/proc` is mounted so that it shows only one's own processes.
fn hides_processes(mountinfo: &str) -> bool {
    let shows_all = ["hidepid=0", "hidepid=off"];
    let of_proc = |line: &&str| line.split(' ').nth(4) == Some("/proc");
    // What was mounted last lies on top.
    let options = mountinfo.lines().rfind(of_proc).and_then(|line| line.split(' ').next_back());
    let hides = |option: &str| option.starts_with("hidepid=") && !shows_all.contains(&option);
    options.is_some_and(|options| options.split(',').any(hides))
}

/// `CAP_BPF CAP_PERFMON`; `none`. A capability newer than this program is a number.
fn names(set: CapabilitySet) -> String {
    let name = |(name, flag): (&str, CapabilitySet)| match name {
        "" | "_" => format!("{:#x}", flag.bits()),
        name => format!("CAP_{name}"),
    };
    let known: Vec<_> = set.iter_names().map(name).collect();
    if known.is_empty() { "none".to_owned() } else { known.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(process: Option<&str>, port: Option<u16>, unit: Option<&str>) -> Selector {
        Selector { process: process.map(Into::into), port, unit: unit.map(Into::into), ..Selector::default() }
    }

    #[test]
    fn only_what_a_forwarder_is_looked_for_by_decides_what_is_kept() {
        let all = CapabilitySet::all();
        assert_eq!(watching(&[], all, false), CapabilitySet::empty());
        assert_eq!(watching(&[selector(None, None, Some("nginx"))], all, false), CapabilitySet::empty());
        assert_eq!(watching(&[selector(Some("nginx"), None, None)], all, false), PTRACE);
        assert_eq!(watching(&[selector(None, Some(443), None)], all, false), PTRACE | SEARCH);
        assert_eq!(watching(&[], all, true), PTRACE, "nobody else's process is seen without it");
        assert_eq!(watching(&[selector(None, Some(443), None)], BPF, true), CapabilitySet::empty());
    }

    #[test]
    fn a_containers_root_opens_the_folder_with_what_it_has() {
        let held = CapabilitySet::DAC_OVERRIDE | PTRACE;
        assert_eq!(watching(&[selector(None, Some(443), None)], held, false), held);
    }

    #[test]
    fn old_kernels_ask_for_a_capability_at_every_look_into_a_map() {
        let on = |major, minor| reading(Some(KernelVersion::new(major, minor, 0)));
        assert_eq!([on(5, 19), on(6, 1), on(6, 18)], [CapabilitySet::empty(); 3]);
        assert_eq!([on(5, 15), on(5, 8), reading(None)], [BPF; 3]);
        assert!(on(5, 4).contains(CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN));
    }

    #[test]
    fn a_proc_that_hides_processes_is_told_by_its_mount() {
        let with = |options| {
            format!("22 1 0:21 / /proc rw,nosuid - proc proc {options}\n23 1 0:22 / /sys rw - sysfs s rw\n")
        };
        for (options, hides) in [
            ("rw", false),
            ("rw,hidepid=0", false),
            ("rw,hidepid=off", false),
            ("rw,hidepid=2", true),
            ("rw,hidepid=invisible", true),
            ("rw,gid=1,hidepid=ptraceable", true),
        ] {
            assert_eq!(hides_processes(&with(options)), hides, "{options}");
        }
        assert!(!hides_processes(""));
    }

    #[test]
    fn sets_are_told_by_their_names() {
        assert_eq!(names(CapabilitySet::empty()), "none");
        assert_eq!(names(PTRACE | BPF), "CAP_SYS_PTRACE CAP_BPF");
    }

    #[test]
    fn a_thread_gives_up_its_own_and_nobody_elses() {
        let before = capabilities(None).unwrap();
        let kept = std::thread::spawn(|| {
            keep_none();
            capabilities(None).unwrap()
        });
        let kept = kept.join().unwrap();
        assert_eq!((kept.effective, kept.permitted), (CapabilitySet::empty(), CapabilitySet::empty()));
        assert_eq!(capabilities(None).unwrap(), before);
    }
}
