//! Where figures go: histograms in banks, minima per second, and a counter for every loss.

use crate::{globals, lines};
use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray};
use core::arch::asm;
use insight_common::histogram::{EXPORT_BUCKETS, EXPORT_POWER, bucket_of};
use insight_common::kernel::floor::{self, FLOOR_WORDS, FloorRing};
use insight_common::kernel::layout::{
    COUNTERS, Counter, DISTRIBUTIONS, Distribution, HISTOGRAM_HEAD, HistogramWords,
};
use insight_common::kernel::loss::{LOSS_COUNTERS, Loss, Measurement};
use insight_common::kernel::turn::{Direction, PAIR_COUNTERS, PairOutcome};

/// Bank by bank, distribution by distribution, group by group (a forwarder's, with a peer group); 4 KiB each. Only of distributions that are
/// on: the loader sets how many, and where each begins.
#[map]
static HISTOGRAMS: Array<HistogramWords> = Array::with_max_entries(DISTRIBUTIONS, BPF_F_MMAPABLE);

/// Minima, group by group, connected sockets' first. The loader sets how many.
#[map]
static FLOORS: PerCpuArray<FloorRing> = PerCpuArray::with_max_entries(2, 0);

/// Losses by measurement.
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOSS_COUNTERS, 0);

/// Events, kind by kind, group by group. The loader sets how many.
#[map]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// Writes without a residence: forwarder by forwarder, by direction and by what was read before them. The
/// loader sets how many.
#[map]
static PAIRS: PerCpuArray<u64> = PerCpuArray::with_max_entries(PAIR_COUNTERS, 0);

/// Adds to a counter that other CPUs, or a softirq on this one, may be adding to as well.
#[inline(always)]
pub fn add(counter: *mut u64, value: u64) {
    // SAFETY: the caller got the pointer from a map look-up: aligned, and alive as long as the
    // program runs. Written out, since this target's library has no atomic addition: without a
    // result it is one instruction that every kernel knows.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) value) };
}

/// Counts a loss.
#[inline(always)]
pub fn lose(measurement: Measurement, loss: Loss) {
    if matches!(loss, Loss::MapFull) {
        lines::map_full(measurement);
    }
    if let Some(counter) = LOST.get_ptr_mut(loss.counter(measurement)) {
        add(counter, 1);
    }
}

/// Counts an event of a group.
#[inline(always)]
pub fn count(counter: Counter, group: u8) {
    count_many(counter, group, 1);
}

/// Counts events of a group.
#[inline(always)]
pub fn count_many(counter: Counter, group: u8, events: u64) {
    match counter.slot(group, globals::GROUPS.load()).and_then(|slot| COUNTS.get_ptr_mut(slot)) {
        Some(counter) => add(counter, events),
        None => lose(counter.measurement(), Loss::NoPeer),
    }
}

/// Counts an event of the `nth` of `all` counters, of which `first` is the first, and which have no
/// groups.
#[inline(always)]
pub fn count_nth(first: Counter, nth: u32, all: u32) {
    let slot = (first as u32 + nth) * globals::GROUPS.load();
    // A number beyond comes out of no table of ours.
    if nth < all
        && let Some(counter) = COUNTS.get_ptr_mut(slot)
    {
        add(counter, 1);
    }
}

/// Counts a forwarder's write that is no residence.
#[inline(always)]
pub fn pair(forwarder: u8, direction: Direction, outcome: PairOutcome) {
    if let Some(counter) = PAIRS.get_ptr_mut(outcome.counter(forwarder, direction)) {
        add(counter, 1);
    }
}

/// Adds to a counter to which nobody else adds meanwhile.
#[inline(always)]
fn add_alone(counter: *mut u64, value: u64) {
    // SAFETY: as for `add`.
    unsafe { counter.write_volatile(counter.read_volatile().wrapping_add(value)) };
}

/// Adds a duration to a distribution of a group.
#[inline(always)]
pub fn duration(distribution: Distribution, group: u8, ns: u64) {
    to_histogram(distribution, group, ns, add);
}

/// As [`duration`], for a distribution that one program on one tracepoint records and no other. The kernel
/// leaves such a program out where it is at work already, so a CPU with a bank of its own is alone with it, and
/// is spared two locked instructions.
#[inline(always)]
pub fn duration_of_one_program(distribution: Distribution, group: u8, ns: u64) {
    if globals::SHARED_BANKS.load() == 0 {
        to_histogram(distribution, group, ns, add_alone);
    } else {
        to_histogram(distribution, group, ns, add);
    }
}

#[inline(always)]
fn to_histogram(distribution: Distribution, group: u8, ns: u64, add: impl Fn(*mut u64, u64)) {
    // SAFETY: the helper has no conditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let banks = globals::BANKS.load();
    // A power of two: a division would cost as much as all else here.
    let bank = cpu & banks.wrapping_sub(1);
    let histogram = globals::row(distribution)
        .slot(bank, globals::PER_BANK.load(), group)
        .and_then(|slot| HISTOGRAMS.get_ptr_mut(slot))
        .map(|words| words.cast::<u64>());
    let bucket = core::hint::black_box(bucket_of(ns, EXPORT_POWER));
    match histogram {
        Some(words) if bucket < EXPORT_BUCKETS => {
            // SAFETY: the entry holds HISTOGRAM_HEAD + EXPORT_BUCKETS words, and the bucket was
            // just compared with the latter; the verifier sees the same comparison.
            unsafe {
                add(words.add(HISTOGRAM_HEAD + bucket), 1);
                // Never 0 once something was counted, which is how the reader tells.
                add(words, if ns == 0 { 1 } else { ns });
            }
        }
        _ => lose(distribution.measurement(), Loss::NoPeer),
    }
}

/// Lowers the minimum of the current second.
#[inline(always)]
pub fn floor(accepted: bool, group: u8, now_ns: u64, sample_ns: u64, clean: bool) {
    let second = now_ns / 1_000_000_000;
    let ring = floor::slot(accepted, group, globals::GROUPS.load()).and_then(|slot| FLOORS.get_ptr_mut(slot));
    if let Some(ring) = ring {
        let first = floor::first_word(second);
        // SAFETY: `first` is a multiple of FLOOR_WORDS below the ring's length, by its mask.
        let words = unsafe { &mut *ring.cast::<u64>().add(first).cast::<[u64; FLOOR_WORDS]>() };
        floor::lower(words, second, sample_ns, clean);
    } else {
        lose(Measurement::SocketRtt, Loss::NoPeer);
    }
}
