//! How long packets wait in the queue discipline of a device, and how long its driver takes.
//!
//! - **Measures** `net_dev_queue` → `net_dev_start_xmit`, the wait; `net_dev_start_xmit` → `net_dev_xmit` with success,
//!   the driver.
//! - **Hooks**: the three, older than BTF:
//!   <https://github.com/torvalds/linux/blob/v6.12/net/core/dev.c#L4363>,
//!   <https://github.com/torvalds/linux/blob/v6.12/net/core/dev.c#L3583>. No other measurement needs them.
//! - **Filtered**: all but the configured devices, which are told by namespace and index.
//! - **Not seen**: hardware queues below the driver; packets that XDP sends; drops by the queue itself (see `drops`).
//! - **Kept**: the wait by packet, from queue to driver, the oldest go first; the driver's part per CPU and device,
//!   since it sends without a pause.
//! - **Lost**: `unstamped`, a packet that the driver gets and nobody queued: a segment that the kernel cut off a larger
//!   one, where the device cannot. One that the driver gives back is queued anew: it has two waits.
//! - **Memory**: 16,384 packets of 8 + 16 bytes: about 1.7 MB, and 17 × 16 bytes per CPU.

use crate::hooks::now;
use crate::memory::{Object, follow, member};
use crate::record::{duration_of_one_program, lose};
use crate::{globals, scope};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{HashMap, LruHashMap, PerCpuArray};
use aya_ebpf::programs::BtfTracePointContext;
use insight_common::kernel::layout::{Distribution, MAX_DEVICES, device_key};
use insight_common::kernel::loss::{Loss, Measurement};

/// The configured devices, and their groups.
#[map]
static DEVICES: HashMap<u64, u8> = HashMap::with_max_entries(MAX_DEVICES, 0);

/// A packet that waits in a queue.
#[derive(Clone, Copy)]
#[repr(C)]
struct Queued {
    since_ns: u64,
    device: u64,
}

/// Packets that wait, by address. One that is dropped in the queue leaves its entry to whichever packet
/// gets its memory next.
#[map]
static QUEUED: LruHashMap<u64, Queued> = LruHashMap::with_max_entries(16_384, 0);

/// The packet that a device's driver is busy with.
#[derive(Clone, Copy)]
#[repr(C)]
struct Handed {
    packet: u64,
    since_ns: u64,
}

/// What each device's driver is busy with on this CPU.
#[map]
static HANDED: PerCpuArray<Handed> = PerCpuArray::with_max_entries(MAX_DEVICES + 1, 0);

/// The group of a device. **None**: it is not configured.
#[inline(always)]
fn group_of(device: Object) -> Option<u8> {
    // A device that sends can be read.
    let index: u32 = member(device, globals::OFF_DEV_INDEX.load())?;
    let namespace = scope::namespace_of(device, globals::OFF_DEV_NET.load())?;
    DEVICES.get_ptr(device_key(namespace, index)).map(|group| {
        // SAFETY: entries are preallocated, and written before the programs are attached.
        unsafe { *group }
    })
}

/// A packet waits from now on.
#[inline(always)]
fn queue(packet: u64, device: u8) {
    let queued = Queued { since_ns: now(), device: u64::from(device) };
    if QUEUED.insert(packet, queued, 0).is_err() {
        lose(Measurement::QdiscWait, Loss::MapFull);
    }
}

#[btf_tracepoint(function = "net_dev_queue")]
fn packet_queued(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(0);
    if let Some(device) = follow(skb, globals::OFF_SKB_DEV.load()).and_then(group_of) {
        queue(skb as u64, device);
    }
    0
}

#[btf_tracepoint(function = "net_dev_start_xmit")]
fn packet_handed(ctx: BtfTracePointContext) -> i32 {
    let packet: u64 = ctx.arg::<Object>(0) as u64;
    let Some(device) = group_of(ctx.arg(1)) else { return 0 };
    let now = now();
    if let Some(handed) = HANDED.get_ptr_mut(u32::from(device)) {
        // SAFETY: an array's entries never move, and only this CPU writes to its own.
        unsafe { *handed = Handed { packet, since_ns: now } };
    }
    let Some(queued) = QUEUED.get_ptr(packet) else {
        lose(Measurement::QdiscWait, Loss::Unstamped);
        return 0;
    };
    // SAFETY: an entry's memory stays a `Queued`; the packet is with this CPU alone.
    let queued = unsafe { *queued };
    if queued.device != u64::from(device) {
        // Of the device below or above, which is not through with it.
        lose(Measurement::QdiscWait, Loss::Unstamped);
        return 0;
    }
    // An error says that it was the oldest and had to go.
    let _ = QUEUED.remove(packet);
    duration_of_one_program(Distribution::QdiscWait, device, now.saturating_sub(queued.since_ns));
    0
}

/// `NETDEV_TX_OK`.
const SENT: i32 = 0;
/// `NETDEV_TX_BUSY`: the driver gives the packet back.
const BUSY: i32 = 0x10;

#[btf_tracepoint(function = "net_dev_xmit")]
fn packet_sent(ctx: BtfTracePointContext) -> i32 {
    // Only its address: it may be freed already.
    let packet: u64 = ctx.arg::<Object>(0) as u64;
    let Some(device) = group_of(ctx.arg(2)) else { return 0 };
    let Some(handed) = HANDED.get_ptr_mut(u32::from(device)) else { return 0 };
    // SAFETY: as in `packet_handed`.
    let handed = unsafe { core::mem::replace(&mut *handed, Handed { packet: 0, since_ns: 0 }) };
    if handed.packet != packet {
        lose(Measurement::QdiscWait, Loss::Unstamped);
        return 0;
    }
    match ctx.arg::<i32>(1) {
        SENT => {
            duration_of_one_program(Distribution::DriverXmit, device, now().saturating_sub(handed.since_ns))
        }
        BUSY => queue(packet, device),
        // Dropped by the driver.
        _ => {}
    }
    0
}
