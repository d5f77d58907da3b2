//! Doing something inside another network namespace, on a thread of its own.

use anyhow::{Context, Result, anyhow};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::path::Path;

/// Runs `work` on a thread that has entered the network namespace at `netns` (a path such as
/// [`NodePlace::netns_path`](super::NodePlace::netns_path)). Sockets made there stay there, on
/// whatever thread they are used later.
///
/// # Errors
/// There is no such namespace, or this process may not enter it. What `work` returns is not
/// looked at.
///
/// # Panics
/// When `work` panics.
pub fn inside<T: Send>(netns: &Path, work: impl FnOnce() -> T + Send) -> Result<T> {
    let enter_and_work = || {
        enter(netns)?;
        Ok(work())
    };
    std::thread::scope(|scope| match scope.spawn(enter_and_work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// As [`inside`], with the namespace's own devices in `/sys/class/net`. The control groups below
/// `/sys/fs` are hidden from the thread.
pub(super) fn inside_with_sysfs<T: Send>(netns: &Path, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    inside(netns, || {
        let what = "mount a sysfs of the namespace";
        let none = None::<&str>;
        // A mount namespace of this thread's own; it disappears with the thread.
        unshare(CloneFlags::CLONE_NEWNS).context(what)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none).context(what)?;
        mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).context(what)?;
        work()
    })
    .and_then(|done| done)
}

/// Moves the calling thread into the network namespace at `netns`.
pub(crate) fn enter(netns: &Path) -> Result<()> {
    let what = || format!("enter the network namespace {}", netns.display());
    let file = File::open(netns).with_context(what)?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|error| anyhow!(error)).with_context(what)
}
