//! Lines for people, in an object built with the feature `kernel-log`; elsewhere nothing at all.
//!
//! They go through a ring buffer of 128 KiB; a line that finds it full is not written. Functions
//! of their own, so that the programs that call them stay short.

#[cfg(feature = "kernel-log")]
mod written {
    use crate::memory::Object;
    use crate::sockets::service_port;
    use aya_log_ebpf::{debug, warn};
    use insight_common::kernel::layout::Role;
    use insight_common::kernel::loss::Measurement;

    /// A socket of the table is established and its peer group known.
    #[inline(always)]
    pub fn socket_known(sk: Object, role: u8, peer: u8) {
        // 0 where it is unreadable, which is no port.
        write_socket(role, peer, service_port(sk, role).unwrap_or(0));
    }

    #[inline(never)]
    fn write_socket(role: u8, peer: u8, port: u16) {
        if role == Role::Accepted as u8 {
            debug!((), "socket accepted on port {} from peer group {}", port, peer);
        } else {
            debug!((), "socket connected to port {} of peer group {}", port, peer);
        }
    }

    /// Something is lost for want of room in a map.
    #[inline(never)]
    pub fn map_full(measurement: Measurement) {
        warn!((), "a map is full: measurement {} of the table in loss.rs loses a sample", measurement as u32);
    }
}

#[cfg(not(feature = "kernel-log"))]
mod written {
    use crate::memory::Object;
    use insight_common::kernel::loss::Measurement;

    /// Nothing: the feature is off.
    #[inline(always)]
    pub fn socket_known(_sk: Object, _role: u8, _peer: u8) {}

    /// Nothing: the feature is off.
    #[inline(always)]
    pub fn map_full(_measurement: Measurement) {}
}

pub use written::{map_full, socket_known};
