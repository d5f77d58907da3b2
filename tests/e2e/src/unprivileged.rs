//! The agent as an ordinary user who holds chosen capabilities and nothing else, and what its threads
//! hold in the end.

use crate::agent::{Agent, Config, Site, binary};
use insight_lab::skip::{SkipReason, skip};
use nix::unistd::geteuid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A user without any privilege; nothing need be called so.
pub const NOBODY: u32 = 65_534;

/// Numbers of the capabilities that are spoken of here, as of `linux/capability.h`.
const NUMBERS: [(&str, u32); 8] = [
    ("dac_override", 1),
    ("dac_read_search", 2),
    ("net_bind_service", 10),
    ("net_admin", 12),
    ("sys_ptrace", 19),
    ("sys_admin", 21),
    ("perfmon", 38),
    ("bpf", 39),
];

/// Whether this process may become somebody with chosen capabilities. False: the running test `name` was
/// declared skipped, and shall return.
pub fn can(name: &str) -> bool {
    let missing = if !geteuid().is_root() {
        Some("choosing a process' capabilities needs root")
    } else if !Path::new("/usr/bin/setpriv").exists() {
        Some("setpriv is missing: install util-linux")
    } else {
        None
    };
    if let Some(why) = missing {
        skip(name, SkipReason::Missing(why));
    }
    missing.is_none()
}

/// The beginning of a command line that runs the rest of it as [`NOBODY`] with exactly these
/// capabilities, which nothing can be added to. Names as of `setpriv`: `net_admin`.
pub fn prefix(capabilities: &[&str]) -> Vec<String> {
    let set = ["-all".to_owned()].into_iter().chain(capabilities.iter().map(|name| format!("+{name}")));
    let set = set.collect::<Vec<_>>().join(",");
    let user = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()];
    // Changing the user takes away what the lab had asked for.
    let user = user.into_iter().chain(["--pdeathsig=KILL".to_owned()]);
    let sets = ["inh-caps", "ambient-caps", "bounding-set"].map(|of| format!("--{of}={set}"));
    ["setpriv".to_owned()].into_iter().chain(user).chain(sets).chain(["--".to_owned()]).collect()
}

/// A copy of the program in `folder`, where everybody may run it.
///
/// # Panics
/// It cannot be copied.
pub fn reachable(folder: &Path) -> PathBuf {
    let program = folder.join("insight-agent");
    let open = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o755));
    let copied = fs::copy(binary(), &program).and_then(|_| open(&program)).and_then(|()| open(folder));
    copied.unwrap_or_else(|error| panic!("copy the agent to {}: {error}", program.display()));
    program
}

/// Starts the agent so, and waits until it is ready and knows what became of its measurements.
///
/// # Panics
/// It does not become ready.
pub fn start(site: &Site, capabilities: &[&str], config: &Config) -> Agent {
    settled(site.start_program(command(site, capabilities), config))
}

/// The program so, without its arguments.
pub fn command(site: &Site, capabilities: &[&str]) -> Command {
    let program = reachable(&site.path("."));
    let prefix = prefix(capabilities);
    let mut command = Command::new(&prefix[0]);
    command.args(&prefix[1..]).arg(program);
    command
}

/// Waits until the agent has said which capabilities are left.
///
/// # Panics
/// It never does.
pub fn settled(agent: Agent) -> Agent {
    crate::wait::wait_until("the line about capabilities", crate::wait::PATIENCE, || {
        let log = agent.log();
        if log.contains("capabilities are settled") { Ok(()) } else { Err(log) }
    });
    agent
}

/// What the threads of a process have effective and permitted, by their names; `insight-agent` is the
/// first one.
///
/// # Panics
/// A capability that has no name here, or a thread whose two sets differ.
pub fn held(pid: u32) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut held: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
    let threads =
        fs::read_dir(format!("/proc/{pid}/task")).unwrap_or_else(|error| panic!("threads: {error}"));
    for thread in threads.flatten() {
        // It may have ended since.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        let field = |name: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            found.unwrap_or_else(|| panic!("no {name} in {status}"))
        };
        assert_eq!(field("CapEff"), field("CapPrm"), "{status}");
        assert_eq!(field("CapInh"), field("CapAmb"), "both are empty: {status}");
        assert_eq!(field("NoNewPrivs"), "1", "{status}");
        held.entry(field("Name").to_owned()).or_default().extend(names(field("CapEff")));
    }
    held
}

fn names(mask: &str) -> BTreeSet<&'static str> {
    let mask = u64::from_str_radix(mask, 16).unwrap_or_else(|error| panic!("{mask}: {error}"));
    let known = NUMBERS.iter().fold(0, |known, (_, number)| known | 1 << number);
    assert_eq!(mask & !known, 0, "a capability that nobody asked for: {mask:#x}");
    NUMBERS.iter().filter(|(_, number)| mask & 1 << number != 0).map(|(name, _)| *name).collect()
}
