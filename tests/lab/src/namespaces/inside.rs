//! Doing something inside another network namespace, on a thread of its own.

use super::names::NETNS_FOLDER;
use anyhow::{Context, Result, anyhow};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
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
        mount_sysfs("/sys")?;
        work()
    })
    .and_then(|done| done)
}

/// Gives the calling thread, and what it becomes, a mount namespace of its own with a sysfs of
/// its network namespace at `folder`. The mounts disappear with the last process that has them.
fn mount_sysfs(folder: &str) -> Result<()> {
    let what = || format!("mount a sysfs of the network namespace at {folder}");
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).with_context(what)?;
    // Slaves: what is unmounted outside disappears here too, other runs' namespaces above all.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none).with_context(what)?;
    mount(Some("sysfs"), folder, Some("sysfs"), MsFlags::empty(), none).with_context(what)
}

/// Moves the calling process into the network namespace at `netns` for good, with that
/// namespace's devices in `/sys/class/net`. The rest of `/sys`, control groups and BTF included,
/// stays what it was. For a process of one thread.
pub(crate) fn move_into(netns: &Path) -> Result<()> {
    enter(netns)?;
    // Any folder would do to hold the new sysfs while its parts are put into place; this one
    // exists wherever there are named namespaces.
    mount_sysfs(NETNS_FOLDER)?;
    // The first holds links into the second.
    for part in ["class/net", "devices/virtual/net"] {
        let (new, place) = (Path::new(NETNS_FOLDER).join(part), Path::new("/sys").join(part));
        let what = || format!("put the namespace's devices at {}", place.display());
        mount(Some(&new), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>).with_context(what)?;
    }
    umount2(NETNS_FOLDER, MntFlags::MNT_DETACH).with_context(|| format!("unmount from {NETNS_FOLDER}"))
}

/// Moves the calling thread into the network namespace at `netns`.
fn enter(netns: &Path) -> Result<()> {
    let what = || format!("enter the network namespace {}", netns.display());
    let file = File::open(netns).with_context(what)?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|error| anyhow!(error)).with_context(what)
}
