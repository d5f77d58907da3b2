//! TCP's own view of a socket: how far each side has come, and when the kernel last worked on it.
//!
//! TCP reads the clock once for each segment that it takes up or lets go, and keeps what it read: a load, in place of
//! another reading, which costs ten times as much. Where a kernel keeps it elsewhere, the clock is read.

use crate::globals;
use crate::hooks::now;
use crate::memory::{Object, trusted};
use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;
use insight_common::kernel::receive::Sequence;

/// A TCP socket that the kernel vouches for.
#[derive(Clone, Copy)]
pub struct Tcp(Object);

impl Tcp {
    /// Of an argument of a tracepoint or of `sock_ops`. **None**: it is no TCP socket, or not a whole one.
    #[inline(always)]
    pub fn of(sk: Object) -> Option<Self> {
        // SAFETY: the kernel vouches for the argument, and asks it for its kind.
        let tcp: Object = unsafe { bpf_skc_to_tcp_sock(sk.cast_mut()) }.cast();
        if tcp.is_null() { None } else { Some(Self(tcp)) }
    }

    /// How far its receiving side has come. `sk` is the same socket.
    #[inline(always)]
    pub fn sequence(self, sk: Object) -> Sequence {
        Sequence {
            rcv_nxt: trusted(self.0, globals::OFF_TCP_RCV_NXT.load()),
            copied: trusted(self.0, globals::OFF_TCP_COPIED_SEQ.load()),
            state: trusted(sk, globals::OFF_SKC_STATE.load()),
        }
    }

    /// When the segment that is being worked on was taken up. **Unit**: ns, of the clock that
    /// [`now`] reads.
    #[inline(always)]
    pub fn arrival_ns(self) -> u64 {
        match globals::OFF_TCP_CLOCK.load() {
            0 => now(),
            offset => trusted(self.0, offset),
        }
    }

    /// When the bytes of the write that returns now were handed to the network. Those that wait for room
    /// there are handed to it later, and count as they were written, which is now. **Unit**: as
    /// [`Self::arrival_ns`].
    #[inline(always)]
    fn departure_ns(self) -> u64 {
        let offset = globals::OFF_TCP_CLOCK.load();
        // With nothing left to send the last segment was one of this write, or came after it.
        if offset != 0
            && trusted::<u32>(self.0, globals::OFF_TCP_WRITE_SEQ.load())
                == trusted::<u32>(self.0, globals::OFF_TCP_SND_NXT.load())
        {
            return trusted(self.0, offset);
        }
        now()
    }
}

/// [`Tcp::sequence`] of an argument of a tracepoint.
#[inline(always)]
pub fn sequence_of(sk: Object) -> Option<Sequence> {
    Tcp::of(sk).map(|tcp| tcp.sequence(sk))
}

/// When the bytes of the write that returns now left. **Unit**: ns.
#[inline(always)]
pub fn departure_of(sk: Object) -> u64 {
    Tcp::of(sk).map_or_else(now, Tcp::departure_ns)
}
