//! The kernel half of Insight: programs that measure sockets where they are served.
//!
//! `hooks/` holds one program per hook of the kernel; each reads what it needs once and calls the
//! measurements that share the hook, each behind a switch in `.rodata` that the verifier prunes.
//! Nothing is compiled in that differs between kernels: offsets come in through `globals`.
//! Everything that can be tested without a kernel lies in `insight_common::kernel`.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(unsafe_code, reason = "map values are reached by pointer, kernel memory by helper calls")
)]

#[cfg(target_arch = "bpf")]
mod entries;
#[cfg(target_arch = "bpf")]
mod globals;
#[cfg(target_arch = "bpf")]
mod hooks;
#[cfg(target_arch = "bpf")]
mod lines;
#[cfg(target_arch = "bpf")]
mod memory;
#[cfg(target_arch = "bpf")]
mod record;
#[cfg(target_arch = "bpf")]
mod sampling;
#[cfg(target_arch = "bpf")]
mod scope;
#[cfg(target_arch = "bpf")]
mod seeding;
#[cfg(target_arch = "bpf")]
mod sockets;
#[cfg(target_arch = "bpf")]
mod tcp;
#[cfg(target_arch = "bpf")]
mod threads;

/// One module per measurement: see `insight_common::measurements`.
#[cfg(target_arch = "bpf")]
macro_rules! modules {
    ($($name:ident $kind:ident $default:ident $about:literal [$($distribution:ident)*] [$($counter:ident)*];)*) => {
        $(mod $name;)*
    };
}
#[cfg(target_arch = "bpf")]
insight_common::measurements!(modules);

/// On the host this crate has nothing to do, and builds with any Rust.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// Nothing here panics; what the compiler cannot prove ends up as an endless loop, which the
/// verifier refuses.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers that read kernel memory are for programs under a licence compatible with the GPL.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
