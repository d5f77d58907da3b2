//! Somebody else's program stands alone on the cgroup that ours are attached to.

use crate::leftovers::alone;
use crate::support::{cgroup2, check, configuration, doctor, is_root, listeners};
use aya::EbpfLoader;
use aya::programs::SockOps;
use insight_agent::collect::kernel::hooks::{self, Place};
use insight_agent::collect::kernel::spec;
use insight_lab::skip::{SkipReason, skip};
use serde_json::Value;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

/// The committed object: any program of the right type serves, and this one is at hand.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../insight-ebpf/prebuilt/insight.bpf.o"
));

/// The command and the attach type, of the kernel's `linux/bpf.h`.
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_CGROUP_SOCK_OPS: u32 = 3;
const EXCLUSIVE: u32 = 0;
const ALLOW_OVERRIDE: u32 = 1;

/// A cgroup that goes away with the test, and what is attached to it with it.
struct Group(PathBuf);

impl Group {
    fn make(root: PathBuf, name: &str) -> Self {
        let folder = root.join(format!("insight-doctor-{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Children first; without processes in them both can always go.
        let _ = fs::remove_dir(self.0.join("below"));
        let _ = fs::remove_dir(&self.0);
    }
}

/// Attaches as programs were before there were links, which aya does on old kernels only.
fn attach(group: &Group, program: &SockOps, flags: u32) -> io::Result<()> {
    let folder = File::open(&group.0).unwrap();
    let attributes: [u32; 4] = [
        folder.as_raw_fd().cast_unsigned(),
        program.fd().unwrap().as_fd().as_raw_fd().cast_unsigned(),
        BPF_CGROUP_SOCK_OPS,
        flags,
    ];
    let size = size_of_val(&attributes);
    #[expect(unsafe_code, reason = "no wrapper attaches without a link")]
    // SAFETY: the attributes outlive the call, which reads as many bytes of them as it is told.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, attributes.as_ptr(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The answer for the scope `scope`, while a program is attached with `flags` to a cgroup. **None**:
/// skipped, and said so.
fn answer(name: &str, flags: u32, scope: impl FnOnce(&Group) -> PathBuf) -> Option<(i32, Value, String)> {
    if !is_root(name) {
        return None;
    }
    let Some(root) = cgroup2() else {
        skip(name, SkipReason::Missing("no cgroup2 is mounted"));
        return None;
    };
    let _alone = alone();
    let hook = hooks::all().into_iter().find(|hook| hook.place == Place::Cgroup).unwrap();
    let mut theirs = EbpfLoader::new().load(OBJECT).unwrap();
    let program: &mut SockOps = theirs.program_mut(hook.program).unwrap().try_into().unwrap();
    program.load().unwrap();
    let group = Group::make(root, &format!("{flags}-{}", name.len()));
    attach(&group, program, flags).unwrap();

    let (ports, _) = listeners();
    let text = format!(
        "[agent]\nregion = \"eu\"\n{ports}[kernel]\nscope_cgroup = {:?}\n",
        scope(&group).display().to_string()
    );
    let (_folder, file) = configuration(&text);
    let answer = doctor(&["--output", "json", "--config", &file]);
    let id = program.info().unwrap().id();
    Some((answer.code, answer.json(), format!("program {id} \"{}\"", hook.program)))
}

/// The first measurement that is attached to a cgroup.
fn on_cgroup() -> &'static str {
    let is_on_cgroup = |spec: &&&spec::Spec| spec.hooks.iter().any(|hook| hook.place == Place::Cgroup);
    spec::ALL.iter().find(is_on_cgroup).unwrap().measurement.name()
}

#[track_caller]
fn assert_blocked(code: i32, found: &Value, program: &str) {
    assert_eq!(code, 1, "{found:#}");
    let blamed = check(found, "sock_ops_of_others");
    assert_eq!(blamed["status"], "failing");
    assert!(blamed["found"].as_str().unwrap().contains(program), "no {program} in {blamed:#}");
    let measurement = check(found, on_cgroup());
    assert_eq!(measurement["status"], "failing");
    assert!(measurement["found"].as_str().unwrap().contains("EPERM (1)"), "{measurement:#}");
    assert!(measurement["advice"].as_str().unwrap().contains("sock_ops_of_others"), "{measurement:#}");
}

#[test]
fn an_exclusive_program_on_our_cgroup_is_named_as_what_keeps_ours_out() {
    let name = "an_exclusive_program_on_our_cgroup_is_named_as_what_keeps_ours_out";
    let Some((code, found, program)) = answer(name, EXCLUSIVE, |group| group.0.clone()) else { return };
    assert_blocked(code, &found, &program);
    assert_eq!(found["facts"]["kernel"]["attachments"][0]["mode"], "exclusive");
}

#[test]
fn an_exclusive_program_above_our_cgroup_is_found_too() {
    let name = "an_exclusive_program_above_our_cgroup_is_found_too";
    let below = |group: &Group| {
        let below = group.0.join("below");
        fs::create_dir(&below).unwrap();
        below
    };
    let Some((code, found, program)) = answer(name, EXCLUSIVE, below) else { return };
    assert_blocked(code, &found, &program);
}

#[test]
fn an_overridable_program_above_our_cgroup_keeps_nobody_out() {
    let name = "an_overridable_program_above_our_cgroup_keeps_nobody_out";
    let below = |group: &Group| {
        let below = group.0.join("below");
        fs::create_dir(&below).unwrap();
        below
    };
    let Some((code, found, _)) = answer(name, ALLOW_OVERRIDE, below) else { return };
    assert_eq!(check(&found, on_cgroup())["status"], "ok", "{code}: {found:#}");
    assert_eq!(check(&found, "sock_ops_of_others")["status"], "ok");
}
