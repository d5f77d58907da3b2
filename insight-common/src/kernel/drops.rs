//! Why the kernel dropped a packet: classes that stay the same while its reasons come and go.

use super::layout::Counter;

/// What a reason for a drop comes down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum DropClass {
    /// Nobody listens there.
    NoSocket = 0,
    /// The receiving socket, or the protocol, has no memory left for it.
    ReceiveBuffer = 1,
    /// Its checksum was wrong.
    Checksum = 2,
    /// A rule of netfilter.
    Netfilter = 3,
    /// A filter of another kind: of the socket, a cgroup, traffic control, XDP, a security module.
    Policy = 4,
    /// A queue discipline had no room, or was told to.
    Qdisc = 5,
    /// The queue between interrupt and softirq of a CPU was full.
    CpuBacklog = 6,
    /// The next hop's hardware address could not be found.
    Neighbour = 7,
    /// There is no route, or none may be used.
    Route = 8,
    /// A listener's queue was full.
    Listen = 9,
    /// TCP found it outside of its connection's sequence, flags or authentication.
    TcpInvalid = 10,
    /// TCP was done with it: a duplicate, or left over by a connection that ended. No fault.
    TcpNormal = 11,
    /// The device had no memory or room, or was not up.
    Device = 12,
    /// Any other reason.
    Other = 13,
    /// The kernel gave no reason.
    Unspecified = 14,
    /// A subsystem with reasons of its own, such as Wi-Fi or Open vSwitch.
    OtherSubsystem = 15,
}

/// How many classes there are.
pub const DROP_CLASSES: u32 = 16;

/// Reasons that the table of classes has room for. Linux 6.18 has 128; one beyond is [`DropClass::Other`].
pub const REASONS: usize = 256;

/// In the table of classes: a packet that was freed for this reason was not dropped.
pub const NO_DROP: u8 = u8::MAX;

impl DropClass {
    /// Every class, by its number.
    pub const ALL: [Self; DROP_CLASSES as usize] = [
        Self::NoSocket,
        Self::ReceiveBuffer,
        Self::Checksum,
        Self::Netfilter,
        Self::Policy,
        Self::Qdisc,
        Self::CpuBacklog,
        Self::Neighbour,
        Self::Route,
        Self::Listen,
        Self::TcpInvalid,
        Self::TcpNormal,
        Self::Device,
        Self::Other,
        Self::Unspecified,
        Self::OtherSubsystem,
    ];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSocket => "no_socket",
            Self::ReceiveBuffer => "rcvbuf",
            Self::Checksum => "checksum",
            Self::Netfilter => "netfilter",
            Self::Policy => "policy",
            Self::Qdisc => "qdisc",
            Self::CpuBacklog => "cpu_backlog",
            Self::Neighbour => "neigh",
            Self::Route => "route",
            Self::Listen => "listen",
            Self::TcpInvalid => "tcp_invalid",
            Self::TcpNormal => "tcp_normal",
            Self::Device => "device",
            Self::Other => "other",
            Self::Unspecified => "unspecified",
            Self::OtherSubsystem => "other_subsys",
        }
    }

    /// Its counter. The counters have the order of the classes: class `n` is the `n`-th.
    pub const fn counter(self) -> Counter {
        match self {
            Self::NoSocket => Counter::DropsNoSocket,
            Self::ReceiveBuffer => Counter::DropsReceiveBuffer,
            Self::Checksum => Counter::DropsChecksum,
            Self::Netfilter => Counter::DropsNetfilter,
            Self::Policy => Counter::DropsPolicy,
            Self::Qdisc => Counter::DropsQdisc,
            Self::CpuBacklog => Counter::DropsCpuBacklog,
            Self::Neighbour => Counter::DropsNeighbour,
            Self::Route => Counter::DropsRoute,
            Self::Listen => Counter::DropsListen,
            Self::TcpInvalid => Counter::DropsTcpInvalid,
            Self::TcpNormal => Counter::DropsTcpNormal,
            Self::Device => Counter::DropsDevice,
            Self::Other => Counter::DropsOther,
            Self::Unspecified => Counter::DropsUnspecified,
            Self::OtherSubsystem => Counter::DropsOtherSubsystem,
        }
    }
}

/// The number of a reason's class, where `listed` is a look-up in the table of classes. **None**: a
/// packet that was freed for this reason was not dropped.
#[inline(always)]
pub fn class_of(reason: u32, listed: impl FnOnce(u32) -> Option<u8>) -> Option<u32> {
    // The upper half names the subsystem whose reason it is; the kernel's own is 0.
    if reason >> 16 != 0 {
        return Some(DropClass::OtherSubsystem as u32);
    }
    match listed(reason) {
        None => Some(DropClass::Other as u32),
        Some(NO_DROP) => None,
        Some(class) => Some(class as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_their_counters_have_the_same_order() {
        for (number, class) in DropClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, number);
            assert_eq!(class.counter() as usize, Counter::DropsNoSocket as usize + number);
        }
    }

    #[test]
    fn a_reason_is_looked_up_unless_it_is_of_another_subsystem() {
        let table = [NO_DROP, DropClass::Qdisc as u8];
        let class = |reason| class_of(reason, |at| table.get(at as usize).copied());
        assert_eq!(class(0), None, "not dropped");
        assert_eq!(class(1), Some(DropClass::Qdisc as u32));
        assert_eq!(class(2), Some(DropClass::Other as u32), "newer than the table");
        assert_eq!(class(1 << 16), Some(DropClass::OtherSubsystem as u32));
        assert_eq!(class(2 << 16 | 1), Some(DropClass::OtherSubsystem as u32));
    }
}
