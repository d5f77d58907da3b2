//! Which sockets are this agent's business: the first question of all, asked once per socket.

use crate::globals;
use crate::memory::{Object, follow, member};
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;

/// Network namespaces by the number of their inode.
#[map]
static NAMESPACES: HashMap<u32, u8> = HashMap::with_max_entries(64, 0);

/// Whether the socket lies in the scope. What cannot be read does not.
#[inline(always)]
pub fn holds(sk: Object) -> bool {
    (globals::SCOPE_NETNS.load() == 0 || in_namespace(sk))
        && (globals::SCOPE_CGROUP.load() == 0 || in_cgroup(sk))
}

#[inline(always)]
fn in_namespace(sk: Object) -> bool {
    namespace_of(sk, globals::OFF_SKC_NET.load()).is_some_and(lists)
}

/// The namespace that the pointer at `offset` of a socket or a device leads to, by the number of its
/// inode. **None**: unreadable.
#[inline(always)]
pub fn namespace_of(object: Object, offset: u32) -> Option<u32> {
    follow(object, offset).and_then(|net| member(net, globals::OFF_NET_INUM.load()))
}

/// Whether a namespace is one of the scope's.
#[inline(always)]
pub fn lists(inum: u32) -> bool {
    NAMESPACES.get_ptr(inum).is_some()
}

/// A cgroup keeps pointers to all above it and to itself, by level.
#[inline(always)]
fn in_cgroup(sk: Object) -> bool {
    let wanted = globals::SCOPE_CGROUP_LEVEL.load();
    let id = follow(sk, globals::OFF_SK_CGROUP.load()).and_then(|cgroup| {
        let level: u32 = member(cgroup, globals::OFF_CGROUP_LEVEL.load())?;
        if level < wanted {
            return None;
        }
        let ancestor = follow(cgroup, globals::OFF_CGROUP_ANCESTORS.load() + wanted * 8)?;
        let node = follow(ancestor, globals::OFF_CGROUP_KN.load())?;
        member::<u64>(node, globals::OFF_KERNFS_ID.load())
    });
    id == Some(globals::SCOPE_CGROUP.load())
}
