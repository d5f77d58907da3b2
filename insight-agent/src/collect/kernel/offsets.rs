//! Which measurements this kernel can carry, and the offsets that their programs read through.

use super::btf::{Btf, BtfError};
use super::hooks::Place;
use super::spec::{Offset, Spec};
use super::{Problem, sockets};
use crate::model::kernel::{Reason, State};
use std::collections::BTreeMap;

/// Globals and their values.
pub type Offsets = BTreeMap<&'static str, u32>;

/// What a scope by network namespace reads.
pub const NAMESPACE: [Offset; 1] = [("OFF_NET_INUM", "net", "ns.inum")];

/// What a scope by cgroup reads. Kernels before 6.1 keep a cgroup's ancestors otherwise.
pub const CGROUP: [Offset; 5] = [
    ("OFF_SK_CGROUP", "sock", "sk_cgrp_data.cgroup"),
    ("OFF_CGROUP_LEVEL", "cgroup", "level"),
    ("OFF_CGROUP_ANCESTORS", "cgroup", "ancestors"),
    ("OFF_CGROUP_KN", "cgroup", "kn"),
    ("OFF_KERNFS_ID", "kernfs_node", "id"),
];

/// Looks up all offsets of `wanted`.
///
/// # Errors
/// This kernel has no such member, or it is a bit field, which has no offset in bytes.
pub fn resolve(btf: &Btf<'_>, wanted: &[Offset], into: &mut Offsets) -> Result<(), BtfError> {
    for (global, structure, path) in wanted {
        let member = btf.member(structure, path)?;
        if member.bit_size.is_some() || member.bit_offset % 8 != 0 {
            return Err(BtfError::NoMember {
                structure: (*structure).to_owned(),
                member: format!("{path} that begins at a byte"),
            });
        }
        into.insert(global, member.offset());
    }
    Ok(())
}

/// Looks up what is read where a kernel has it: all of `wanted`, or nothing.
pub fn resolve_if_there(btf: &Btf<'_>, wanted: &[Offset], into: &mut Offsets) {
    let mut found = Offsets::new();
    if resolve(btf, wanted, &mut found).is_ok() {
        into.append(&mut found);
    }
}

/// Whether this kernel has a measurement's hooks and members; adds its offsets.
///
/// # Errors
/// What is missing: the measurement is disabled.
pub fn check(btf: &Btf<'_>, spec: &Spec, into: &mut Offsets) -> Result<(), Problem> {
    let missing = |error: BtfError| Problem {
        state: State::Disabled(match error {
            BtfError::Absent { what: "struct", .. } | BtfError::NoMember { .. } => Reason::MemberAbsent,
            _ => Reason::HookAbsent,
        }),
        detail: error.to_string(),
    };
    for hook in spec.hooks.iter().chain(sockets::SPEC.hooks) {
        hook.check(btf).map_err(missing)?;
    }
    let mut found = Offsets::new();
    for hook in spec.hooks {
        if let (Some(global), Place::Tracepoint(name, _)) = (hook.arity, hook.place) {
            // A tracepoint has at most a dozen.
            found.insert(global, btf.tracepoint(name).map_err(missing)?.len() as u32);
        }
    }
    resolve(btf, spec.offsets, &mut found).map_err(missing)?;
    resolve(btf, sockets::SPEC.offsets, &mut found).map_err(missing)?;
    into.append(&mut found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{btf, spec};
    use super::*;

    #[test]
    fn the_running_kernel_has_every_member_that_its_hooks_need() {
        // Without BTF there is nothing to resolve; the kernel tests say so loudly.
        let Ok(bytes) = std::fs::read(btf::VMLINUX) else { return };
        let btf = Btf::parse(&bytes).unwrap();
        let mut offsets = Offsets::new();
        for spec in spec::ALL {
            let checked = check(&btf, spec, &mut offsets);
            // An older kernel may lack a hook; a struct's member is never merely absent.
            if let Err(problem) = checked {
                assert_eq!(problem.state, State::Disabled(Reason::HookAbsent), "{}", problem.detail);
            }
        }
        resolve(&btf, &NAMESPACE, &mut offsets).unwrap();
        resolve_if_there(&btf, &super::super::hooks::TCP_CLOCK, &mut offsets);
        assert!(offsets.contains_key("OFF_TCP_CLOCK"), "TCP keeps its clock elsewhere: it is read each time");
        resolve_if_there(&btf, &[("ONE", "tcp_sock", "snd_nxt"), ("TWO", "tcp_sock", "none")], &mut offsets);
        assert!(!offsets.contains_key("ONE"), "all or nothing");
        assert_eq!(offsets.get("OFF_SKC_DPORT"), Some(&12));
    }
}
