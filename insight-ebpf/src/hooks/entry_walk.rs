//! `iter/bpf_sk_storage_map`: every entry of the table of sockets, when the agent asks for them. Since 5.9.

use crate::entries;
use crate::memory::Object;
use core::ffi::c_void;
use insight_common::kernel::layout::Socket;

/// What the kernel hands to the program, for each entry and once more at the end.
#[repr(C)]
struct Walk {
    /// Of the walk; not read.
    meta: *const c_void,
    /// The table; not read.
    map: *const c_void,
    /// The socket. Null: at the end, or it is being freed.
    sk: Object,
    /// What is kept with it. Null at the end.
    value: *const Socket,
}

// aya-ebpf has no macro for this kind of program.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_sk_storage_map")]
extern "C" fn entry_walk(walk: *const Walk) -> i32 {
    // SAFETY: the kernel passes a context of this layout; the verifier checks each access.
    let (sk, value) = unsafe { ((*walk).sk, (*walk).value) };
    if value.is_null() {
        entries::on_end();
        return 0;
    }
    if !sk.is_null() {
        // SAFETY: the map holds `Socket`s, and the walk keeps this one as long as the program runs.
        entries::on_entry(sk, unsafe { &*value });
    }
    0
}
