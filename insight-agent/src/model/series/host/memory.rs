//! How memory is used, by the fields of `/proc/meminfo`.

use super::super::{Kind, Series};
use super::single;

/// What the families' names begin with; the rest is the figure's name.
pub const PREFIX: &str = "node_memory_";

macro_rules! row {
    ($figure:literal) => {
        single(
            concat!("node_memory_", $figure),
            concat!("The field of /proc/meminfo that is called ", $figure, "."),
            Kind::Gauge,
        )
    };
}

/// This file's families: the fields of x86 and ARM kernels from 5.15 to 6.18. Others are not shown.
pub const SERIES: &[Series] = &[
    row!("Active_anon_bytes"),
    row!("Active_bytes"),
    row!("Active_file_bytes"),
    row!("AnonHugePages_bytes"),
    row!("AnonPages_bytes"),
    row!("Balloon_bytes"),
    row!("Bounce_bytes"),
    row!("Buffers_bytes"),
    row!("Cached_bytes"),
    row!("CmaFree_bytes"),
    row!("CmaTotal_bytes"),
    row!("CommitLimit_bytes"),
    row!("Committed_AS_bytes"),
    row!("DirectMap1G_bytes"),
    row!("DirectMap2M_bytes"),
    row!("DirectMap4M_bytes"),
    row!("DirectMap4k_bytes"),
    row!("Dirty_bytes"),
    row!("FileHugePages_bytes"),
    row!("FilePmdMapped_bytes"),
    row!("GPUActive_bytes"),
    row!("GPUReclaim_bytes"),
    row!("HardwareCorrupted_bytes"),
    row!("HighFree_bytes"),
    row!("HighTotal_bytes"),
    row!("HugePages_Free"),
    row!("HugePages_Rsvd"),
    row!("HugePages_Surp"),
    row!("HugePages_Total"),
    row!("Hugepagesize_bytes"),
    row!("Hugetlb_bytes"),
    row!("Inactive_anon_bytes"),
    row!("Inactive_bytes"),
    row!("Inactive_file_bytes"),
    row!("KReclaimable_bytes"),
    row!("KernelStack_bytes"),
    row!("LowFree_bytes"),
    row!("LowTotal_bytes"),
    row!("Mapped_bytes"),
    row!("MemAvailable_bytes"),
    row!("MemFree_bytes"),
    row!("MemTotal_bytes"),
    row!("Mlocked_bytes"),
    row!("NFS_Unstable_bytes"),
    row!("PageTables_bytes"),
    row!("Percpu_bytes"),
    row!("SReclaimable_bytes"),
    row!("SUnreclaim_bytes"),
    row!("SecPageTables_bytes"),
    row!("ShmemHugePages_bytes"),
    row!("ShmemPmdMapped_bytes"),
    row!("Shmem_bytes"),
    row!("Slab_bytes"),
    row!("SwapCached_bytes"),
    row!("SwapFree_bytes"),
    row!("SwapTotal_bytes"),
    row!("Unaccepted_bytes"),
    row!("Unevictable_bytes"),
    row!("VmallocChunk_bytes"),
    row!("VmallocTotal_bytes"),
    row!("VmallocUsed_bytes"),
    row!("WritebackTmp_bytes"),
    row!("Writeback_bytes"),
    row!("Zswap_bytes"),
    row!("Zswapped_bytes"),
];
