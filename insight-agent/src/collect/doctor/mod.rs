//! Facts for `doctor`, out of `/proc` and `/sys` below a root: what this machine is, what this process
//! may do, who else is here. What the kernel does with the programs is
//! [`examine`](super::kernel::examine::examine).
//!
//! Nothing here judges, and nothing is changed: no port is opened, no limit is raised.

mod forwarders;
mod limits;
mod listeners;
mod process;

pub use forwarders::{KNOWN, agents, forwarders, known};
pub use listeners::listeners;
pub use process::process;

use super::host::{Root, Source};
use super::kernel::{btf, scope};
use crate::model::doctor::{BtfFact, Errno, SystemError, SystemFacts};
use std::fs;
use std::io;

/// The kernel and its switches.
pub fn system(root: &Root) -> SystemFacts {
    let source = Source::new(root);
    let number = |name: &str| source.number(format!("proc/sys/{name}"));
    let mountinfo = source.text("proc/self/mountinfo").unwrap_or_default();
    SystemFacts {
        release: source.text("proc/sys/kernel/osrelease"),
        machine: sysinfo::System::cpu_arch(),
        cpus: aya::util::nr_cpus().ok(),
        btf: btf_fact(root),
        lockdown: source.read("sys/kernel/security/lockdown", |text| Some(lockdown(text))).flatten(),
        unprivileged_bpf_disabled: number("kernel/unprivileged_bpf_disabled"),
        bpf_jit_enable: number("net/core/bpf_jit_enable"),
        bpf_stats_enabled: number("kernel/bpf_stats_enabled"),
        pressure: source.text("proc/pressure/cpu").is_some(),
        cgroup2_mount: scope::cgroup2_mount(&mountinfo).map(|mount| mount.display().to_string()),
    }
}

/// Whether the kernel's types can be read and understood.
fn btf_fact(root: &Root) -> BtfFact {
    match fs::read(root.join(btf::VMLINUX)) {
        Ok(bytes) => {
            let error = btf::Btf::parse(&bytes).err();
            BtfFact {
                bytes: Some(bytes.len() as u64),
                error: error.map(|error| SystemError { errno: None, text: error.to_string() }),
            }
        }
        Err(error) => BtfFact { bytes: None, error: Some(io_error("read", btf::VMLINUX, &error)) },
    }
}

/// The level in brackets: `none [integrity] confidentiality`.
fn lockdown(text: &str) -> Option<String> {
    text.split_whitespace().find_map(|word| Some(word.strip_prefix('[')?.strip_suffix(']')?.to_owned()))
}

/// An error of the system, with what was attempted on what.
pub(super) fn io_error(what: &str, on: &str, error: &io::Error) -> SystemError {
    SystemError {
        errno: error.raw_os_error().map(errno),
        text: format!("{what} {on}: {}", plain(&error.to_string())),
    }
}

/// An error's text, whose number is looked for where `std` writes it: it comes through layers that keep
/// the text only.
pub(super) fn text_error(text: &str) -> SystemError {
    let behind = text.split_once("(os error ").and_then(|(_, behind)| behind.split_once(')'));
    let number = behind.and_then(|(number, _)| number.parse().ok());
    SystemError { errno: number.map(errno), text: plain(text) }
}

fn errno(number: i32) -> Errno {
    Errno { name: format!("{:?}", nix::errno::Errno::from_raw(number)), number }
}

/// The text without the numbers, which have a field of their own, and without line breaks: the
/// verifier's log has many, and its end is what tells.
fn plain(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, behind)) = rest.split_once(" (os error ") {
        plain.push_str(before);
        rest = behind.split_once(')').map_or("", |(_, behind)| behind);
    }
    plain.push_str(rest);
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn write(root: &Path, file: &str, content: &[u8]) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn an_empty_tree_is_unknown_and_never_zero() {
        let folder = tempfile::tempdir().unwrap();
        let found = system(&Root::new(folder.path()));
        let absent = found.btf.error.unwrap();
        assert_eq!(absent.errno, Some(Errno { name: "ENOENT".into(), number: 2 }));
        assert_eq!(absent.text, "read /sys/kernel/btf/vmlinux: No such file or directory");
        assert_eq!((found.release, found.lockdown, found.cgroup2_mount), (None, None, None));
        assert_eq!((found.unprivileged_bpf_disabled, found.bpf_jit_enable), (None, None));
        assert!(!found.pressure);
    }

    #[test]
    fn switches_lockdown_and_the_mount_are_read_out_of_a_tree() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "proc/sys/kernel/osrelease", b"6.1.0-56-cloud-amd64\n");
        write(root, "proc/sys/kernel/unprivileged_bpf_disabled", b"2\n");
        write(root, "proc/sys/kernel/bpf_stats_enabled", b"1\n");
        write(root, "proc/pressure/cpu", b"some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n");
        write(root, "sys/kernel/security/lockdown", b"none integrity [confidentiality]\n");
        let mounts = b"32 31 0:28 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n";
        write(root, "proc/self/mountinfo", mounts);
        write(root, "sys/kernel/btf/vmlinux", b"no types");
        let found = system(&Root::new(root));
        assert_eq!(found.version(), Some((6, 1)));
        assert_eq!(found.lockdown.as_deref(), Some("confidentiality"));
        assert_eq!((found.unprivileged_bpf_disabled, found.bpf_stats_enabled), (Some(2), Some(1)));
        assert!(found.pressure);
        assert_eq!(found.cgroup2_mount.as_deref(), Some("/sys/fs/cgroup/unified"));
        assert_eq!(found.btf.bytes, Some(8));
        assert!(found.btf.error.unwrap().text.contains("cut short"));
    }

    #[test]
    fn the_number_of_an_error_is_found_in_its_text_and_named() {
        let found = text_error("load: map: Operation not permitted (os error 1): again (os error 1)\nlog");
        assert_eq!(found.errno.unwrap().to_string(), "EPERM (1)");
        assert_eq!(found.text, "load: map: Operation not permitted: again log");
        assert_eq!(text_error("there is none").errno, None);
        assert_eq!(text_error("(os error x)").errno, None);
    }
}
