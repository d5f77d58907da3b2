//! `iter/tcp`: every TCP socket of a network namespace, when the loader asks for them. Since 5.9.

use super::now;
use crate::memory::Object;
use crate::seeding;
use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;
use core::ffi::c_void;

/// What the kernel hands to the program, for each socket and once more at the end.
#[repr(C)]
struct Walk {
    /// Of the walk; not read.
    meta: *const c_void,
    /// The socket. Null at the end.
    sk: *mut c_void,
    /// Who owns it; not read.
    uid: u32,
}

// aya-ebpf has no macro for this kind of program.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
extern "C" fn socket_walk(walk: *const Walk) -> i32 {
    // SAFETY: the kernel passes a context of this layout; the verifier checks each access.
    let sk = unsafe { (*walk).sk };
    if sk.is_null() {
        return 0;
    }
    // SAFETY: the kernel vouches for a socket of this walk. Null: it is no whole TCP socket, as
    // those that wait for their last packets or have not been answered yet.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sk) };
    if !tcp.is_null() {
        seeding::on_socket(sk as Object, tcp.cast(), now());
    }
    0
}
