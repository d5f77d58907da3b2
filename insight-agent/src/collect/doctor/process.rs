//! What may this process do, and in whose namespaces is it?
//!
//! **Source**: `/proc/self/status`, the links in `/proc/self/ns`, `/proc/self/limits`.

use super::limits;
use crate::collect::host::{Root, Source};
use crate::model::doctor::{Namespace, ProcessFacts};

/// Names by number, as of Linux 5.9; see capability.h of the kernel's user-space headers.
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Numbers of the namespaces that a host boots with: constants of the kernel, in proc_ns.h. That of the
/// network is one since 6.18 only; before, it is a number above 4026531840 like any other.
const HOST_PID: u64 = 4_026_531_836;
const HOST_USER: u64 = 4_026_531_837;
const HOST_NETWORK: u64 = 4_026_531_833;

/// This process.
pub fn process(root: &Root) -> ProcessFacts {
    let source = Source::new(root);
    let field = |name: &str| {
        source.text("proc/self/status").and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.trim().to_owned())
        })
    };
    let mask = field("CapEff").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    let pid_namespace = of(number(&source, "self", "pid"), HOST_PID);
    ProcessFacts {
        // Real, effective, saved, of the file system.
        uid: field("Uid").and_then(|line| line.split_whitespace().nth(1)?.parse().ok()),
        capabilities: mask.map(names),
        pid_namespace,
        network_namespace: network(&source, pid_namespace),
        user_namespace: of(number(&source, "self", "user"), HOST_USER),
        memlock_limit_bytes: source.read("proc/self/limits", limits::memlock).flatten(),
        memory_limit: limits::memory(&source),
    }
}

/// The names of the bits that are set.
fn names(mask: u64) -> Vec<String> {
    let set = (0..u64::BITS).filter(|bit| mask & 1 << bit != 0);
    set.map(|bit| CAPABILITIES.get(bit as usize).map_or(format!("CAP_{bit}"), |name| (*name).to_owned()))
        .collect()
}

/// The number in `pid:[NUMBER]`. **None**: the link may not be read.
fn number(source: &Source<'_>, process: &str, kind: &str) -> Option<u64> {
    let link = source.link(format!("proc/{process}/ns/{kind}"))?;
    link.to_str()?.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()
}

fn of(number: Option<u64>, hosts: u64) -> Namespace {
    match number {
        Some(number) if number == hosts => Namespace::Host,
        Some(_) => Namespace::Other,
        None => Namespace::Unknown,
    }
}

/// By its number, or by that of the host's first process, which only the host's process ids show.
fn network(source: &Source<'_>, pid_namespace: Namespace) -> Namespace {
    let Some(own) = number(source, "self", "net") else { return Namespace::Unknown };
    if own == HOST_NETWORK {
        return Namespace::Host;
    }
    match number(source, "1", "net") {
        Some(first) if pid_namespace == Namespace::Host => of(Some(own), first),
        _ => Namespace::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A tree with one line of status and links of namespaces.
    fn tree(status: &str, links: &[(&str, &str)]) -> (TempDir, ProcessFacts) {
        let folder = tempfile::tempdir().unwrap();
        for process in ["self", "1"] {
            fs::create_dir_all(folder.path().join(format!("proc/{process}/ns"))).unwrap();
        }
        fs::write(folder.path().join("proc/self/status"), status).unwrap();
        for (path, target) in links {
            symlink(target, folder.path().join("proc").join(path)).unwrap();
        }
        let found = process(&Root::new(folder.path()));
        (folder, found)
    }

    #[test]
    fn the_effective_set_is_named_by_its_bits() {
        let status =
            "Name:\tx\nUid:\t1000\t65534\t0\t0\nCapPrm:\t000001ffffffffff\nCapEff:\t000000c000001000\n";
        let (_, found) = tree(status, &[]);
        assert_eq!(found.capabilities.unwrap(), ["CAP_NET_ADMIN", "CAP_PERFMON", "CAP_BPF"]);
        assert_eq!(found.uid, Some(65_534));
        let (_, found) = tree("CapEff:\t0000020000200000\n", &[]);
        assert_eq!(found.capabilities.unwrap(), ["CAP_SYS_ADMIN", "CAP_41"]);
        assert_eq!(tree("CapEff:\tx\n", &[]).1.capabilities, None);
    }

    #[test]
    fn a_container_is_told_by_the_numbers_of_its_namespaces() {
        let container = [
            ("self/ns/pid", "pid:[4026532204]"),
            ("self/ns/net", "net:[4026532207]"),
            ("self/ns/user", "user:[4026531837]"),
            ("1/ns/net", "net:[4026532207]"),
        ];
        let (_, found) = tree("", &container);
        assert_eq!(found.pid_namespace, Namespace::Other);
        assert_eq!(found.network_namespace, Namespace::Unknown, "its first process is not the host's");
        assert_eq!(found.user_namespace, Namespace::Host);
    }

    #[test]
    fn with_the_hosts_process_ids_its_first_process_tells_whose_network_it_is() {
        let network = |own: &str, first: &str| {
            let links = [("self/ns/pid", "pid:[4026531836]"), ("self/ns/net", own), ("1/ns/net", first)];
            tree("", &links).1.network_namespace
        };
        assert_eq!(network("net:[4026531992]", "net:[4026531992]"), Namespace::Host);
        assert_eq!(network("net:[4026532207]", "net:[4026531992]"), Namespace::Other);
        assert_eq!(network("net:[4026531833]", "garbage"), Namespace::Host, "a constant since 6.18");
        assert_eq!(tree("", &[]).1.network_namespace, Namespace::Unknown);
    }
}
