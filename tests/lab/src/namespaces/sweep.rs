//! Removing what runs made: at their end, and for dead ones at the next start.

use super::cgroup::Mounts;
use super::host::ip;
use super::inside::inside;
use super::names::{NETNS_FOLDER, RunName, netns_path};
use nix::unistd::geteuid;
use std::fs;
use std::path::Path;

/// Removes what runs left whose harness is dead. Without root there can be nothing.
pub(crate) fn sweep() {
    if !geteuid().is_root() {
        return;
    }
    let mounts = Mounts::find().ok();
    let mut runs: Vec<RunName> = netns_names().iter().filter_map(|name| RunName::of(name)).collect();
    runs.extend(devices().into_iter().map(|(_, run)| run));
    runs.extend(mounts.iter().flat_map(Mounts::runs));
    runs.sort_by_key(RunName::text);
    runs.dedup();
    for run in runs.iter().filter(|run| !run.owner.runs()) {
        remove(run, mounts.as_ref());
    }
}

/// Removes everything of one run: groups with the processes in them, devices, namespaces. What
/// cannot be removed is reported and left.
pub(super) fn remove(run: &RunName, mounts: Option<&Mounts>) {
    let report = |done: anyhow::Result<()>| {
        if let Err(error) = done {
            tracing::warn!("{error:#}");
        }
    };
    if let Some(mounts) = mounts {
        mounts.remove(run);
    }
    // By themselves they would go with their namespace, but only some time after it.
    for (device, _) in devices().into_iter().filter(|(_, owner)| owner == run) {
        report(ip(&["link", "del", &device]));
    }
    for name in netns_names().into_iter().filter(|name| RunName::of(name) == Some(*run)) {
        report(inside(&netns_path(&name), forget_connections));
        report(ip(&["netns", "del", &name]));
    }
}

/// Lets the kernel give up soon on connections that ended processes left with unanswered bytes:
/// across a WAN that is gone they would keep the namespace and its devices for minutes.
fn forget_connections() {
    if let Err(error) = fs::write("/proc/sys/net/ipv4/tcp_orphan_retries", "1") {
        tracing::warn!("tcp_orphan_retries: {error}");
    }
}

/// Whether anything of a run is still there.
pub(super) fn left_of(run: &RunName, mounts: &Mounts) -> Vec<String> {
    let namespaces = netns_names().into_iter().filter(|name| RunName::of(name) == Some(*run));
    let devices = devices().into_iter().filter(|(_, owner)| owner == run).map(|(device, _)| device);
    let groups = mounts.runs().into_iter().filter(|owner| owner == run).map(|run| run.text());
    namespaces.chain(devices).chain(groups).collect()
}

fn netns_names() -> Vec<String> {
    let entries = fs::read_dir(NETNS_FOLDER).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Devices of the harness's namespace whose alias names a run.
fn devices() -> Vec<(String, RunName)> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let owned = entries.filter_map(|entry| {
        let alias = fs::read_to_string(Path::new(&entry.path()).join("ifalias")).ok()?;
        Some((entry.file_name().into_string().ok()?, RunName::of(alias.trim())?))
    });
    owned.collect()
}
