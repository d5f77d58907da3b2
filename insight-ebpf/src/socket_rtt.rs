//! Round trips per peer group, as the kernel's own acknowledgement clock sees them.
//!
//! - **Measures** segment sent → acknowledgement received, on established connections; and the
//!   handshake. The minimum of each second is kept apart, once over all samples and once over
//!   clean ones.
//! - **Clean** is a handshake, which the peer's kernel answers at once, or a sample with at least
//!   two more segments in flight. Any other acknowledgement may ride on an answer and then
//!   contains the peer's think time, up to the delayed acknowledgement's 40 ms. A moving average
//!   holds such samples, and lags behind a delay that rises: it is never clean.
//! - **Hook**: `sock_ops` with the RTT callback, since 5.3:
//!   <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c#L898>. Raw samples since 6.10; before, the
//!   kernel's moving average, counted as `smoothed`.
//! - **Kept** in the socket's entry: the handshake's sample until the peer group is known.
//! - **Lost**: `no_peer`, `smoothed`.
//! - On sockets that were open before, since 6.12: see `seeding`.
//! - The callback is asked for on sockets in scope and never switched off: another agent on this
//!   kernel may want it on a socket that is none of ours.

use crate::hooks::now;
use crate::memory::Object;
use crate::record::{duration, floor, lose};
use crate::tcp::Tcp;
use crate::{globals, sampling, sockets};
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_RTT_CB,
    BPF_SOCK_OPS_RTT_CB_FLAG,
};
use aya_ebpf::helpers::generated::{bpf_getsockopt, bpf_setsockopt};
use aya_ebpf::programs::SockOpsContext;
use core::ffi::{c_int, c_void};
use insight_common::kernel::layout::{Distribution, PEER_PENDING, Role, Socket};
use insight_common::kernel::loss::{Loss, Measurement};

/// Segments still in flight from which on an acknowledgement is taken for immediate.
const CLEAN_IN_FLIGHT: u32 = 2;

/// The level of TCP's socket options.
const IPPROTO_TCP: c_int = 6;

/// The option that holds which callbacks a socket makes. Since 6.12.
const CALLBACK_FLAGS: c_int = 1_008;

/// A callback of TCP.
#[inline(always)]
pub fn on_event(ctx: &SockOpsContext) {
    if !globals::is_on(Measurement::SocketRtt) {
        return;
    }
    match ctx.op() {
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB | BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => on_established(ctx),
        BPF_SOCK_OPS_RTT_CB => on_sample(ctx),
        _ => {}
    }
}

/// When the segment that made a callback was taken up. **Unit**: ns.
#[inline(always)]
fn arrival_of(ctx: &SockOpsContext) -> u64 {
    socket_of(ctx).and_then(|sk| Tcp::of(sk)).map_or_else(now, Tcp::arrival_ns)
}

/// The entry of the socket that a callback is about.
#[inline(always)]
fn entry(ctx: &SockOpsContext) -> Option<&'static mut Socket> {
    socket_of(ctx).and_then(|sk| sockets::entry_of(sk.cast_mut()))
}

/// The socket that a callback is about.
#[inline(always)]
fn socket_of(ctx: &SockOpsContext) -> Option<Object> {
    // SAFETY: the context is valid as long as the program runs.
    let sk = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    if sk.is_null() { None } else { Some(sk.cast()) }
}

#[inline(always)]
fn on_established(ctx: &SockOpsContext) {
    let Some(socket) = entry(ctx) else { return };
    if sampling::leaves_out(socket) {
        return;
    }
    ask_for_samples(ctx);
    // SAFETY: as in `socket_of`. At this time the average is of one sample: the handshake's.
    socket.handshake_us = unsafe { (*ctx.ops).srtt_us } >> 3;
    if socket.peer != PEER_PENDING {
        on_peer_known(socket, arrival_of(ctx));
    }
}

/// The peer group is known: the handshake's sample can be recorded. Of the two callers, which are
/// the callback and the change of state, either can come first. An accepted socket has nobody's thread yet, and
/// waits for the first use where forwarders are told apart.
#[inline(always)]
pub fn on_peer_known(socket: &mut Socket, now: u64) {
    let is_to_be_used = socket.role == Role::Accepted as u8 && globals::FORWARDERS_ONLY.load() != 0;
    if !is_to_be_used {
        on_used(socket, now);
    }
}

/// Whose connection it is is known as well as it will be.
#[inline(always)]
pub fn on_used(socket: &mut Socket, now: u64) {
    if !globals::is_on(Measurement::SocketRtt) || socket.handshake_us == 0 {
        return;
    }
    let sample_us = socket.handshake_us;
    socket.handshake_us = 0;
    record(socket, now, sample_us, true);
}

#[inline(always)]
fn on_sample(ctx: &SockOpsContext) {
    // None of ours: another agent asked for this callback.
    let Some(socket) = entry(ctx) else { return };
    // It was asked for before the peer group was known.
    if sampling::leaves_out(socket) {
        return;
    }
    let sample_us = ctx.arg(0);
    if sample_us == 0 {
        // SAFETY: as in `socket_of`.
        let average_us = unsafe { (*ctx.ops).srtt_us } >> 3;
        lose(Measurement::SocketRtt, Loss::Smoothed);
        record(socket, arrival_of(ctx), average_us, false);
        return;
    }
    // SAFETY: as in `socket_of`.
    let in_flight = unsafe { (*ctx.ops).packets_out };
    record(socket, arrival_of(ctx), sample_us, in_flight >= CLEAN_IN_FLIGHT);
}

#[inline(always)]
fn record(socket: &Socket, now: u64, sample_us: u32, clean: bool) {
    let ns = u64::from(sample_us) * 1_000;
    let accepted = socket.role == Role::Accepted as u8;
    let distribution = if accepted { Distribution::RttAccepted } else { Distribution::RttConnected };
    duration(distribution, socket.group, ns);
    floor(accepted, socket.group, now, ns, clean);
}

/// Asks for RTT callbacks. Flags that other agents set stay.
#[inline(always)]
fn ask_for_samples(ctx: &SockOpsContext) {
    // It answers with the flags that this kernel does not know: without RTT callbacks there are
    // no samples, and the count says so.
    let _ = ctx.set_cb_flags((ctx.cb_flags() | BPF_SOCK_OPS_RTT_CB_FLAG) as i32);
}

/// Asks for RTT callbacks on a socket that was open before, in a walk over sockets.
#[inline(always)]
pub fn ask_for_samples_of(tcp: *mut c_void) {
    if !globals::is_on(Measurement::SocketRtt) {
        return;
    }
    let mut flags: c_int = 0;
    let size = size_of::<c_int>() as c_int;
    // SAFETY: the walk holds the socket and its lock, and the buffer is as long as it is said to be.
    // An older kernel refuses the first call: the socket has no samples.
    unsafe {
        if bpf_getsockopt(tcp, IPPROTO_TCP, CALLBACK_FLAGS, (&raw mut flags).cast(), size) == 0 {
            flags |= BPF_SOCK_OPS_RTT_CB_FLAG as c_int;
            let _ = bpf_setsockopt(tcp, IPPROTO_TCP, CALLBACK_FLAGS, (&raw mut flags).cast(), size);
        }
    }
}
