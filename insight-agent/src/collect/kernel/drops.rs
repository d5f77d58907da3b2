//! Dropped packets by class: see `insight-ebpf/src/drops.rs`.

use super::Problem;
use super::btf::Btf;
use super::hooks::{Argument::Pointer, Hook};
use super::offsets::Offsets;
use super::settings::Scope;
use super::spec::Spec;
use crate::model::kernel::{Reason, State};
use insight_common::kernel::drops::{DropClass, NO_DROP, REASONS};
use insight_common::kernel::loss::Measurement;

/// The tracepoint.
const TRACEPOINT: &str = "kfree_skb";

/// What it needs.
pub const SPEC: Spec = Spec {
    measurement: Measurement::Drops,
    hooks: &[Hook::tracepoint("packet_drop", TRACEPOINT, &[Pointer])],
    offsets: &[
        ("OFF_SKB_DEV", "sk_buff", "dev"),
        ("OFF_SKB_SK", "sk_buff", "sk"),
        ("OFF_DEV_NET", "net_device", "nd_net.net"),
    ],
    needs_forwarder: false,
};

/// The class of each reason; what the kernel's program looks up.
pub type Classes = [u8; REASONS];

/// What a kernel's names for its reasons have before them.
const PREFIX: &str = "SKB_DROP_REASON_";

/// Reasons whose class no part of their name tells.
const BY_NAME: &[(DropClass, &[&str])] = &[
    (DropClass::NoSocket, &["NO_SOCKET"]),
    (
        DropClass::ReceiveBuffer,
        &["SOCKET_RCVBUFF", "PROTO_MEM", "SOCKET_BACKLOG", "TCP_ZEROWINDOW", "TCP_OFO_QUEUE_PRUNE"],
    ),
    (DropClass::Netfilter, &["NETFILTER_DROP"]),
    (
        DropClass::Policy,
        &[
            "SOCKET_FILTER",
            "BPF_CGROUP_EGRESS",
            "XDP",
            "SECURITY_HOOK",
            "XFRM_POLICY",
            "TAP_FILTER",
            "TAP_TXFILTER",
        ],
    ),
    (DropClass::CpuBacklog, &["CPU_BACKLOG"]),
    (
        DropClass::Route,
        &[
            "IP_OUTNOROUTES",
            "IP_INNOROUTES",
            "IP_RPFILTER",
            "IP_INADDRERRORS",
            "IP_LOCAL_SOURCE",
            "IP_INVALID_SOURCE",
            "IP_INVALID_DEST",
            "IP_LOCALNET",
        ],
    ),
    (DropClass::Listen, &["TCP_LISTEN_OVERFLOW"]),
    (
        DropClass::TcpNormal,
        &[
            "TCP_OFOMERGE",
            "TCP_OFO_DROP",
            "TCP_RESET",
            "TCP_CLOSE",
            "TCP_ABORT_ON_DATA",
            "TCP_FASTOPEN",
            "QUEUE_PURGE",
            "SOCKET_CLOSE",
        ],
    ),
    (
        DropClass::TcpInvalid,
        &["TCP_FLAGS", "TCP_OVERWINDOW", "TCP_TOO_OLD_ACK", "TCP_ACK_UNSENT_DATA", "TCP_MINTTL"],
    ),
    (DropClass::Device, &["FULL_RING", "NOMEM", "PFMEMALLOC"]),
    (DropClass::Unspecified, &["NOT_SPECIFIED"]),
];

/// Families of reasons, by how their names begin.
const BY_BEGIN: &[(DropClass, &[&str])] = &[
    (DropClass::Policy, &["TC_"]),
    (DropClass::Qdisc, &["QDISC_", "FQ_", "CAKE_", "DUALPI2_"]),
    (DropClass::Neighbour, &["NEIGH_"]),
    (DropClass::TcpNormal, &["TCP_OLD_"]),
    (DropClass::TcpInvalid, &["TCP_INVALID_", "TCP_RFC7323_", "TCP_AUTH_", "TCP_AO", "TCP_MD5"]),
    (DropClass::Device, &["DEV_"]),
];

/// The class of a reason by the kernel's name for it. **None**: nothing was dropped.
fn class(name: &str) -> Option<DropClass> {
    // Those without the prefix say that the packet was delivered, or is not freed yet.
    let name = name.strip_prefix(PREFIX)?;
    let named = BY_NAME.iter().find(|(_, names)| names.contains(&name));
    let begins = || BY_BEGIN.iter().find(|(_, begins)| begins.iter().any(|begin| name.starts_with(begin)));
    let found = named.or_else(begins).map(|(class, _)| *class);
    let by_end = if name.ends_with("_CSUM") { DropClass::Checksum } else { DropClass::Other };
    Some(found.unwrap_or(by_end))
}

/// The class of each of `reasons`, which are names and numbers.
fn classes(reasons: &[(&str, i64)]) -> Classes {
    let mut classes = [DropClass::Other as u8; REASONS];
    for (name, number) in reasons {
        if let Some(entry) = usize::try_from(*number).ok().and_then(|at| classes.get_mut(at)) {
            *entry = class(name).map_or(NO_DROP, |class| class as u8);
        }
    }
    classes
}

/// Finds out how this kernel gives its reasons: adds the number of the tracepoint's arguments, and
/// gives the class of each.
///
/// # Errors
/// It cannot be limited to the scope: disabled, rather than that it counts other agents' drops.
pub fn resolve(btf: &Btf<'_>, scope: &Scope, into: &mut Offsets) -> Result<Classes, Problem> {
    if let Some(cgroup) = &scope.cgroup {
        let detail = format!(
            "drops: limit it to cgroup {}: a packet belongs to none: limit it by kernel.scope_namespaces, or not at all",
            cgroup.display()
        );
        return Err(Problem { state: State::Disabled(Reason::Unscoped), detail });
    }
    // Whether it is there has been checked with the other hooks.
    let arguments = btf.tracepoint(TRACEPOINT).map_or(0, |arguments| arguments.len() as u32);
    into.insert("KFREE_SKB_ARGUMENTS", arguments);
    // Before 5.17 there is neither the enum nor the argument that is looked up in it.
    Ok(classes(&btf.enum_values("skb_drop_reason").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::super::btf;
    use super::*;

    fn of(name: &str) -> Option<&'static str> {
        class(&format!("{PREFIX}{name}")).map(DropClass::name)
    }

    #[test]
    fn a_reason_has_the_class_of_its_name_whatever_its_number() {
        for (name, class) in [
            ("NO_SOCKET", "no_socket"),
            ("SOCKET_RCVBUFF", "rcvbuf"),
            ("UDP_CSUM", "checksum"),
            ("TC_INGRESS", "policy"),
            ("QDISC_OVERLIMIT", "qdisc"),
            ("FQ_FLOW_LIMIT", "qdisc"),
            ("NEIGH_FAILED", "neigh"),
            ("IP_RPFILTER", "route"),
            ("TCP_OLD_DATA", "tcp_normal"),
            ("TCP_TOO_OLD_ACK", "tcp_invalid"),
            ("TCP_RFC7323_TW_PAWS", "tcp_invalid"),
            ("TCP_AOFAILURE", "tcp_invalid"),
            ("DEV_READY", "device"),
            ("NOT_SPECIFIED", "unspecified"),
            ("PKT_TOO_SMALL", "other"),
            ("OF_A_LATER_KERNEL", "other"),
        ] {
            assert_eq!(of(name), Some(class), "{name}");
        }
        assert_eq!((class("SKB_CONSUMED"), class("SKB_NOT_DROPPED_YET")), (None, None));
    }

    #[test]
    fn numbers_outside_of_the_table_are_left_to_the_program() {
        let reasons =
            [("SKB_CONSUMED", 1), ("SKB_DROP_REASON_XDP", 255), ("SKB_DROP_REASON_SUBSYS_MASK", -65_536)];
        let classes = classes(&reasons);
        assert_eq!((classes[1], classes[255]), (NO_DROP, DropClass::Policy as u8));
        assert!(classes[2..255].iter().all(|class| *class == DropClass::Other as u8), "no name, no class");
    }

    #[test]
    fn a_name_is_listed_once_and_all_classes_have_one() {
        let mut seen = std::collections::BTreeSet::new();
        for (_, names) in BY_NAME {
            assert!(names.iter().all(|name| seen.insert(*name)), "{names:?}");
        }
        let listed = BY_NAME.iter().chain(BY_BEGIN).map(|(class, _)| *class);
        let by_rule = [DropClass::Checksum, DropClass::Other, DropClass::OtherSubsystem];
        let all: std::collections::BTreeSet<_> = listed.chain(by_rule).collect();
        assert!(all.into_iter().eq(DropClass::ALL));
    }

    #[test]
    fn the_running_kernels_reasons_for_no_drop_are_the_two_that_say_so() {
        // A kernel without the types has no reasons to compare; the kernel tests say so loudly.
        let Ok(bytes) = std::fs::read(btf::VMLINUX) else { return };
        let btf = Btf::parse(&bytes).unwrap();
        let reasons = btf.enum_values("skb_drop_reason").unwrap_or_default();
        let none: Vec<_> = reasons.iter().filter(|(name, _)| class(name).is_none()).collect();
        assert!(
            none.iter().all(|(name, _)| ["SKB_CONSUMED", "SKB_NOT_DROPPED_YET"].contains(name)),
            "{none:?}"
        );
        let mut offsets = Offsets::new();
        let classes = resolve(&btf, &Scope::default(), &mut offsets).unwrap();
        for (name, number) in &reasons {
            if let Ok(number @ 0..REASONS) = usize::try_from(*number) {
                assert_eq!(classes[number], class(name).map_or(NO_DROP, |class| class as u8), "{name}");
            }
        }
        assert!(offsets["KFREE_SKB_ARGUMENTS"] >= 2, "{offsets:?}");
    }

    #[test]
    fn a_scope_by_cgroup_disables_it() {
        let Ok(bytes) = std::fs::read(btf::VMLINUX) else { return };
        let btf = Btf::parse(&bytes).unwrap();
        let scope = Scope { cgroup: Some("/sys/fs/cgroup/a".into()), ..Scope::default() };
        let problem = resolve(&btf, &scope, &mut Offsets::new()).unwrap_err();
        assert_eq!(problem.state, State::Disabled(Reason::Unscoped));
        assert!(problem.detail.contains("/sys/fs/cgroup/a"), "{}", problem.detail);
    }
}
