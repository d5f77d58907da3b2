//! Which programs of others stand where ours want to stand?
//!
//! Links, which this agent makes, live beside each other and beside programs that were attached with
//! BPF_F_ALLOW_MULTI. A program that was attached alone (flags 0), or to be replaced further down
//! (BPF_F_ALLOW_OVERRIDE), keeps links out of its cgroup with EPERM; one that was attached alone keeps
//! them out of all cgroups below it too.
//!
//! **Source**: BPF_PROG_QUERY, since 4.15, which takes CAP_NET_ADMIN; names take CAP_SYS_ADMIN. Rules:
//! `hierarchy_allows_attach` and `__cgroup_bpf_attach` of
//! <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/cgroup.c>.

use super::{hooks, sockets};
use crate::collect::doctor::io_error;
use crate::collect::host::{Root, Source, detect};
use crate::model::doctor::{AgentProgramsFact, AttachMode, AttachmentFact, ProgramFact, SystemError};
use crate::model::host::Selector;
use aya::programs::{ProgramInfo, loaded_programs};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

/// The command and the attach type, of the kernel's `linux/bpf.h`.
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_CGROUP_SOCK_OPS: u32 = 3;

/// Bits of the attach flags.
const ALLOW_OVERRIDE: u32 = 1;
const ALLOW_MULTI: u32 = 2;

/// Programs that a cgroup may have: the kernel's BPF_CGROUP_MAX_PROGS.
const MOST: usize = 64;

/// A program's name as the kernel cuts it, which keeps 16 bytes with the 0 at its end.
const NAME_BYTES: usize = 15;

/// The part of `union bpf_attr` for this command, in full: a newer kernel writes its last field
/// whatever length it was told.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// Attach flags and programs of type `sock_ops` on one cgroup, those above it left out.
fn query(cgroup: BorrowedFd<'_>) -> io::Result<(u32, Vec<u32>)> {
    let mut ids = [0_u32; MOST];
    let mut query = Query {
        // A descriptor is not negative while it is borrowed.
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_SOCK_OPS,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MOST as u32,
        ..Query::default()
    };
    #[expect(unsafe_code, reason = "aya offers this query for other kinds of programs only")]
    // SAFETY: both the attributes and the array that they point to outlive the call; the kernel
    // writes at most `prog_cnt` numbers there, and within the length of the attributes given.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<Query>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((query.attach_flags, ids[..(query.prog_cnt as usize).min(MOST)].to_vec()))
}

/// Every loaded program. Empty: this process may not ask.
pub(super) fn programs() -> Vec<ProgramInfo> {
    // One that ends between being listed and being asked is none.
    loaded_programs().filter_map(Result::ok).collect()
}

/// The cgroup, and all above it up to the mount. Only groups with programs are told.
///
/// # Errors
/// Without CAP_NET_ADMIN; what was found until then is lost.
pub(super) fn attachments(
    cgroup: &Path,
    mount: &Path,
    loaded: &[ProgramInfo],
) -> Result<Vec<AttachmentFact>, SystemError> {
    let mut found = Vec::new();
    // What stands above counts up to the nearest group that has programs.
    let mut is_nearest = true;
    for group in cgroup.ancestors().take_while(|group| group.starts_with(mount)) {
        let name = group.display().to_string();
        let failed = |error| io_error("ask for the sock_ops programs on", &name, &error);
        let folder = File::open(group).map_err(failed)?;
        let (flags, ids) = query(folder.as_fd()).map_err(failed)?;
        if ids.is_empty() {
            continue;
        }
        let mode = mode(flags);
        let is_own = group == cgroup;
        let blocks = is_nearest && blocks(mode, is_own);
        // Its own group and the nearest one above are asked apart.
        is_nearest &= is_own;
        let named =
            |id| ProgramFact { id, name: loaded.iter().find(|program| program.id() == id).map(name_of) };
        let programs = ids.into_iter().map(named).collect();
        found.push(AttachmentFact { cgroup: name, mode, blocks, programs });
    }
    Ok(found)
}

fn mode(flags: u32) -> AttachMode {
    match flags {
        flags if flags & ALLOW_MULTI != 0 => AttachMode::Multi,
        flags if flags & ALLOW_OVERRIDE != 0 => AttachMode::Override,
        _ => AttachMode::Exclusive,
    }
}

/// Whether programs that were attached so keep a link out: out of their own group, or out of one below.
fn blocks(mode: AttachMode, is_own: bool) -> bool {
    match mode {
        AttachMode::Multi => false,
        AttachMode::Override => is_own,
        AttachMode::Exclusive => true,
    }
}

fn name_of(program: &ProgramInfo) -> String {
    String::from_utf8_lossy(program.name()).into_owned()
}

/// Other agents: programs with our names that share maps, the socket table's among them.
pub(super) fn other_agents(root: &Root, loaded: &[ProgramInfo]) -> Vec<AgentProgramsFact> {
    let is_ours = |name: &str| hooks::all().iter().any(|hook| cut(hook.program) == name);
    let named = loaded.iter().map(|program| (program, name_of(program)));
    let with_maps = named.filter(|(_, name)| is_ours(name)).filter_map(|(program, name)| {
        let maps = program.map_ids().ok()??;
        Some(Named { id: program.id(), name, maps })
    });
    let groups = grouped(with_maps.collect());
    if groups.is_empty() {
        return Vec::new();
    }
    let holders = holders(root);
    let pid = |programs: &[u32]| programs.iter().find_map(|id| holders.get(id).copied());
    groups.into_iter().map(|programs| AgentProgramsFact { pid: pid(&programs), programs }).collect()
}

fn cut(name: &str) -> &str {
    name.get(..NAME_BYTES).unwrap_or(name)
}

/// A program with its maps.
#[derive(Debug)]
struct Named {
    id: u32,
    name: String,
    maps: Vec<u32>,
}

/// Programs that share a map, directly or over others; only groups that follow sockets are an agent's:
/// every agent does, and others may call a program of theirs as we do.
fn grouped(programs: Vec<Named>) -> Vec<Vec<u32>> {
    let mut groups: Vec<Vec<Named>> = Vec::new();
    for program in programs {
        let shares = |group: &Vec<Named>| {
            group.iter().flat_map(|member| &member.maps).any(|map| program.maps.contains(map))
        };
        let (same, others) = groups.into_iter().partition(shares);
        groups = others;
        let mut merged: Vec<Named> = same.into_iter().flatten().collect();
        merged.push(program);
        groups.push(merged);
    }
    let follows = |group: &&Vec<Named>| {
        let mut hooks = sockets::SPEC.hooks.iter();
        hooks.all(|hook| group.iter().any(|member| member.name == cut(hook.program)))
    };
    let ids = |group: &Vec<Named>| {
        let mut ids: Vec<u32> = group.iter().map(|member| member.id).collect();
        ids.sort_unstable();
        ids
    };
    let mut found: Vec<Vec<u32>> = groups.iter().filter(follows).map(ids).collect();
    found.sort();
    found
}

/// Which agent's process holds which program, as far as they may be looked at.
fn holders(root: &Root) -> BTreeMap<u32, u32> {
    let source = Source::new(root);
    let selector = Selector { process: Some("insight-agent".into()), ..Selector::default() };
    let mut holders = BTreeMap::new();
    for pid in detect(root, &[selector]).pids.concat() {
        let folder = format!("proc/{pid}/fdinfo");
        for name in source.names(&folder) {
            let id = source.text(format!("{folder}/{}", name.to_string_lossy())).and_then(|text| {
                text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
            });
            holders.extend(id.map(|id| (id, pid)));
        }
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_attached_alone_reaches_further_down() {
        assert_eq!(
            [mode(0), mode(1), mode(2)],
            [AttachMode::Exclusive, AttachMode::Override, AttachMode::Multi]
        );
        assert!(blocks(AttachMode::Exclusive, true) && blocks(AttachMode::Exclusive, false));
        assert!(blocks(AttachMode::Override, true) && !blocks(AttachMode::Override, false));
        assert!(!blocks(AttachMode::Multi, true) && !blocks(AttachMode::Multi, false));
    }

    #[test]
    fn an_agent_is_programs_that_share_maps_and_follow_sockets() {
        let program = |id, name: &str, maps: &[u32]| Named { id, name: name.into(), maps: maps.into() };
        let found = grouped(vec![
            program(6, "socket_begin", &[1, 2]),
            program(7, "socket_state", &[1, 2]),
            program(8, "bytes_sent", &[3, 4]),
            program(9, "socket_destroy", &[2, 3]),
            program(19, "socket_begin", &[11]),
            program(20, "socket_state", &[11]),
            program(21, "socket_destroy", &[11]),
            program(30, "data_ready", &[12]),
        ]);
        assert_eq!(
            found,
            [vec![6, 7, 8, 9], vec![19, 20, 21]],
            "the last is somebody else's of the same name"
        );
    }

    #[test]
    fn the_kernels_structure_has_its_length() {
        assert_eq!(size_of::<Query>(), 64);
    }
}
