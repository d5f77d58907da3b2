//! How long deferred interrupt work waits until it runs, and how often a device has more packets than
//! one poll may take.
//!
//! - **Measures** `softirq_raise` → `softirq_entry`, on the CPU where both happen, by vector; with what waits for
//!   `ksoftirqd`, and for other softirqs that run before it.
//! - **Counts** `napi_poll` with its whole budget used up: more packets are waiting, for the next round.
//! - **Hooks**: `softirq_raise`, `softirq_entry`, `napi_poll`, since 2.6.31, 2.6.31 and 2.6.32; the poll's figures since 4.9:
//!   <https://github.com/torvalds/linux/blob/v6.12/kernel/softirq.c#L554>,
//!   <https://github.com/torvalds/linux/blob/v6.12/net/core/dev.c#L6781>. No other measurement needs them.
//! - **Whose**: the host's. A softirq belongs to no socket, namespace or cgroup: a scope changes nothing.
//! - **Filtered**: vectors that carry no packets and hold none up: block devices, tasklets, high resolution timers.
//! - **Not seen**: packets that a device's own thread polls (threaded NAPI), between interrupt and raise.
//! - **Kept** per CPU and vector, from the first raise to the run.
//! - **Lost**: nothing; a run whose raise was before the programs is no sample.
//! - **Memory**: 10 × 8 bytes per CPU.

use crate::record;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::layout::{Counter, GROUP_WHOLE};
use insight_common::kernel::softirq::{self, VECTORS, Vector};

/// Since when each vector is pending on this CPU.
#[map]
static RAISED: PerCpuArray<u64> = PerCpuArray::with_max_entries(VECTORS, 0);

/// Since when `vector` is pending on this CPU. 0: it is not.
#[inline(always)]
fn since(vector: Vector) -> Option<&'static mut u64> {
    // SAFETY: an array's entries never move. Only this CPU writes to its own, by whole words: an
    // interrupt between the two steps of a raise stamps the same vector some ns apart.
    RAISED.get_ptr_mut(vector as u32).map(|since| unsafe { &mut *since })
}

#[btf_tracepoint(function = "softirq_raise")]
fn softirq_raised(ctx: BtfTracePointContext) -> i32 {
    if let Some(since) = Vector::of(ctx.arg(0)).and_then(since) {
        // SAFETY: the helper has no conditions.
        softirq::raise(since, unsafe { bpf_ktime_get_ns() });
    }
    0
}

#[btf_tracepoint(function = "softirq_entry")]
fn softirq_entered(ctx: BtfTracePointContext) -> i32 {
    let Some(vector) = Vector::of(ctx.arg(0)) else { return 0 };
    // SAFETY: the helper has no conditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if let Some(ns) = since(vector).and_then(|since| softirq::enter(since, now)) {
        record::duration_of_one_program(vector.distribution(), GROUP_WHOLE, ns);
    }
    0
}

#[btf_tracepoint(function = "napi_poll")]
fn device_polled(ctx: BtfTracePointContext) -> i32 {
    if softirq::is_exhausted(ctx.arg(1), ctx.arg(2)) {
        record::count(Counter::NapiExhausted, GROUP_WHOLE);
    }
    0
}
