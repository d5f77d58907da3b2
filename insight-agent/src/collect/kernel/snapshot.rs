//! Copies the maps out.

use super::Problem;
use super::entries::Walks;
use crate::model::kernel::{Durations, KernelSnapshot, Pairs};
use aya::Ebpf;
use aya::maps::{Array, IterableMap, Map, MapData, MapError, PerCpuArray};
use insight_common::kernel::floor::{self, Floor, FloorRing};
use insight_common::kernel::layout::{
    Counter, Distribution, Group, Groups, HISTOGRAM_HEAD, HISTOGRAM_WORDS, HistogramWords, MAX_GROUPS,
    PEER_OTHER, Role, Rows,
};
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::turn::{Direction, PairOutcome};
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::time::{ClockId, clock_gettime};
use std::array::from_fn;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::slice::from_raw_parts;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The maps that are read.
pub struct Reader {
    histograms: Array<MapData, HistogramWords>,
    floors: PerCpuArray<MapData, FloorRing>,
    lost: PerCpuArray<MapData, u64>,
    counts: PerCpuArray<MapData, u64>,
    pairs: PerCpuArray<MapData, u64>,
    seeded: Array<MapData, u64>,
    /// **Err**: entries are not counted.
    walks: Result<Walks, Problem>,
    /// **None**: the loaded object writes none.
    #[cfg(feature = "kernel-log")]
    lines: Option<super::lines::Lines>,
    banks: u32,
    rows: Rows,
    peers: u32,
    forwarders: u32,
    active: BTreeSet<Measurement>,
    devices: Vec<String>,
}

impl fmt::Debug for Reader {
    /// aya's maps have no text of their own.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Reader")
            .field("banks", &self.banks)
            .field("peers", &self.peers)
            .field("forwarders", &self.forwarders)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Takes the maps out of a loaded object, with so many peer groups and forwarders, those of nobody included.
    ///
    /// # Errors
    /// The object is another one than this reader was written for.
    pub fn new(
        ebpf: &mut Ebpf,
        banks: u32,
        rows: Rows,
        (peers, forwarders): (u32, u32),
        active: BTreeSet<Measurement>,
        devices: Vec<String>,
        walks: Result<Walks, Problem>,
    ) -> Result<Self, MapError> {
        #[cfg(feature = "kernel-log")]
        let lines = super::lines::Lines::open(ebpf);
        let mut take = |name: &str| -> Result<Map, MapError> {
            ebpf.take_map(name).ok_or_else(|| MapError::InvalidName { name: name.to_owned() })
        };
        Ok(Self {
            #[cfg(feature = "kernel-log")]
            lines,
            histograms: Array::try_from(take("HISTOGRAMS")?)?,
            floors: PerCpuArray::try_from(take("FLOORS")?)?,
            lost: PerCpuArray::try_from(take("LOST")?)?,
            counts: PerCpuArray::try_from(take("COUNTS")?)?,
            pairs: PerCpuArray::try_from(take("PAIRS")?)?,
            seeded: Array::try_from(take("SEEDED")?)?,
            walks,
            banks,
            rows,
            peers,
            forwarders,
            active,
            devices,
        })
    }

    /// Why entries are not counted. **None**: they are.
    pub fn walks_problem(&self) -> Option<&Problem> {
        self.walks.as_ref().err()
    }

    /// Reads everything. Programs go on counting meanwhile: a histogram's buckets can be a few ahead
    /// of its sum.
    ///
    /// # Errors
    /// A look-up failed, which an array's never does.
    pub fn read(&self) -> Result<KernelSnapshot, MapError> {
        #[cfg(feature = "kernel-log")]
        self.lines.iter().for_each(super::lines::Lines::forward);
        let mut snapshot = KernelSnapshot::at(Instant::now(), kernel_clock_ns());
        snapshot.devices.clone_from(&self.devices);
        let per_bank = self.rows.per_bank();
        let mapping = Mapping::open(self.histograms.map().fd(), (self.banks * per_bank) as usize).ok();
        for (bank, kind) in (0..self.banks).flat_map(|bank| Distribution::ALL.map(|kind| (bank, kind))) {
            let row = self.rows.row(kind);
            for number in 0..row.groups() as u8 {
                let Some(slot) = row.slot(bank, per_bank, number) else { continue };
                let words = match &mapping {
                    Some(mapping) => mapping.counted(slot as usize),
                    // One look-up each takes ten times as long, and gives the same.
                    None => Some(self.histograms.get(&slot, 0)?).filter(has_counted),
                };
                if let Some(words) = words {
                    let key = (kind as u32, self.group(kind.groups(), number));
                    snapshot.durations.entry(key).or_default().add(&durations_of(&words));
                }
            }
        }
        drop(mapping);
        for role in Role::ALL {
            snapshot.seeded.push((role, self.seeded.get(&role.seeded(), 0)?));
            for number in 0..self.groups() as u8 {
                if let Some(slot) = floor::slot(role == Role::Accepted, number, self.groups()) {
                    let seconds = merge(self.floors.get(&slot, 0)?.iter());
                    if !seconds.is_empty() {
                        let group = Group::numbered(number, self.peers);
                        snapshot.floors.push((role, group, seconds));
                    }
                }
            }
        }
        snapshot.entries = self.walks.as_ref().ok().and_then(Walks::entries);
        for measurement in Measurement::ALL {
            for loss in Loss::ALL {
                let count: u64 = self.lost.get(&loss.counter(measurement), 0)?.iter().sum();
                if count > 0 {
                    snapshot.lost.insert((measurement, loss), count);
                }
            }
        }
        for counter in Counter::ALL.into_iter().filter(|counter| self.active.contains(&counter.measurement()))
        {
            let groups = match counter.groups() {
                Groups::Peers | Groups::Devices | Groups::Forwarders => self.groups() as u8,
                Groups::Whole => 1,
            };
            for number in 0..groups {
                if let Some(slot) = counter.slot(number, self.groups()) {
                    let count = self.counts.get(&slot, 0)?.iter().sum();
                    snapshot.counts.insert((counter, self.group(counter.groups(), number)), count);
                }
            }
        }
        for forwarder in 0..self.forwarders as u8 {
            let mut pairs = Pairs::new();
            for (direction, outcome) in all_outcomes() {
                let count = match outcome {
                    PairOutcome::Paired => residences(&snapshot, forwarder, direction),
                    _ => self.pairs.get(&outcome.counter(forwarder, direction), 0)?.iter().sum(),
                };
                pairs.insert((direction, outcome), count);
            }
            snapshot.pairs.insert(forwarder, pairs);
        }
        settle_pairs(&mut snapshot);
        Ok(snapshot)
    }

    /// Groups of connections.
    fn groups(&self) -> u32 {
        (self.peers * self.forwarders).min(MAX_GROUPS)
    }

    /// What a number of a figure's groups stands for.
    fn group(&self, groups: Groups, number: u8) -> Group {
        match groups {
            Groups::Peers => Group::numbered(number, self.peers),
            Groups::Forwarders => Group { peer: PEER_OTHER, forwarder: number },
            Groups::Devices | Groups::Whole => Group::of_peer(number),
        }
    }
}

// ---- the histograms' memory -------------------------------------------------------------------

/// The histograms where the programs write them, for one reading.
///
/// Not for longer: the kernel counts mapped pages as resident in this process, 86 MiB with all
/// banks and groups, and mapping all of them takes less time than looking a tenth of them up.
struct Mapping {
    start: NonNull<AtomicU64>,
    slots: usize,
}

impl Mapping {
    /// Maps the first `slots` histograms of an array, read only.
    fn open(map: impl AsFd, slots: usize) -> nix::Result<Self> {
        let length = NonZeroUsize::new(slots * size_of::<HistogramWords>()).ok_or(Errno::EINVAL)?;
        #[expect(unsafe_code, reason = "aya looks values of an array up one by one only")]
        // SAFETY: the kernel chooses an address that nothing else uses.
        let start = unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, map, 0)? };
        Ok(Self { start: start.cast(), slots })
    }

    /// A copy of one histogram. **None**: it has not counted anything.
    fn counted(&self, slot: usize) -> Option<HistogramWords> {
        #[expect(unsafe_code, reason = "the map's memory is no Rust object")]
        // SAFETY: `open` mapped so many words at the start of a page, and they stay until `drop`.
        // The programs change them meanwhile, in aligned words, as atomics may.
        let words = unsafe { from_raw_parts(self.start.as_ptr(), self.slots * HISTOGRAM_WORDS) };
        let words = &words[slot * HISTOGRAM_WORDS..][..HISTOGRAM_WORDS];
        // The sum first, as a look-up copies it.
        let sum = words[0].load(Ordering::Relaxed);
        let rest = |at: usize| if at == 0 { sum } else { words[at].load(Ordering::Relaxed) };
        (sum > 0).then(|| from_fn(rest))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "what was mapped by hand is unmapped by hand")]
        // SAFETY: exactly what `open` mapped; no reference outlives a call of `counted`.
        let unmapped = unsafe { munmap(self.start.cast(), self.slots * size_of::<HistogramWords>()) };
        debug_assert_eq!(unmapped, Ok(()), "the mapping is ours and whole");
    }
}

// ---- what was read ----------------------------------------------------------------------------

/// Everything that a write can come to.
fn all_outcomes() -> impl Iterator<Item = (Direction, PairOutcome)> {
    Direction::ALL.into_iter().flat_map(|direction| PairOutcome::ALL.map(|outcome| (direction, outcome)))
}

/// A forwarder's writes that were a residence: each is in its distribution.
fn residences(snapshot: &KernelSnapshot, forwarder: u8, direction: Direction) -> u64 {
    let wanted = match direction {
        Direction::Up => Distribution::ResidenceUp,
        Direction::Down => Distribution::ResidenceDown,
    };
    let of_groups = snapshot.durations_of(wanted).filter(|(group, _)| group.forwarder == forwarder);
    of_groups.map(|(_, durations)| durations.count).sum()
}

/// Writes without a pair are residence's losses: the kernel counts them once. Of a forwarder without a single
/// write there is nothing to tell.
fn settle_pairs(snapshot: &mut KernelSnapshot) {
    snapshot.pairs.retain(|_, pairs| pairs.values().any(|count| *count > 0));
    for ((_, outcome), count) in snapshot.pairs.values().flatten() {
        if let Some(loss) = outcome.loss().filter(|_| *count > 0) {
            *snapshot.lost.entry((Measurement::Residence, loss)).or_default() += count;
        }
    }
}

/// The clock that the programs stamp with. 0: it cannot be read, which no kernel has said yet.
fn kernel_clock_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

/// Whether a histogram holds anything: its sum says so.
fn has_counted(words: &HistogramWords) -> bool {
    words[0] > 0
}

fn durations_of(words: &HistogramWords) -> Durations {
    let buckets = words[HISTOGRAM_HEAD..].to_vec();
    Durations { count: buckets.iter().sum(), sum_ns: words[0], buckets }
}

/// One ring out of each CPU's, without seconds that have been overwritten on another CPU.
fn merge<'a>(rings: impl Iterator<Item = &'a FloorRing>) -> Vec<Floor> {
    let mut seconds = BTreeMap::<u64, Floor>::new();
    for next in rings.flat_map(floor::seconds) {
        let none = Floor { second: next.second, any_ns: u64::MAX, clean_ns: u64::MAX, clean_count: 0 };
        let merged = seconds.entry(next.second).or_insert(none);
        merged.any_ns = merged.any_ns.min(next.any_ns);
        merged.clean_ns = merged.clean_ns.min(next.clean_ns);
        merged.clean_count += next.clean_count;
    }
    let newest = seconds.keys().next_back().copied().unwrap_or(0);
    let kept = newest.saturating_sub(floor::FLOOR_SECONDS as u64 - 1);
    seconds.into_values().filter(|floor| floor.second >= kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use insight_common::kernel::floor::{FLOOR_SECONDS, FLOOR_WORDS};

    fn ring(floors: &[(u64, u64, bool)]) -> FloorRing {
        let mut ring = [0; FLOOR_SECONDS * FLOOR_WORDS];
        for (second, sample, clean) in floors {
            let first = floor::first_word(*second);
            let words: &mut [u64; FLOOR_WORDS] = (&mut ring[first..first + FLOOR_WORDS]).try_into().unwrap();
            floor::lower(words, *second, *sample, *clean);
        }
        ring
    }

    /// A file with the memory of an array of histograms.
    fn array_of(histograms: &[HistogramWords]) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        let words = histograms.iter().flatten().flat_map(|word| word.to_ne_bytes());
        std::io::Write::write_all(&mut file, &words.collect::<Vec<u8>>()).unwrap();
        file
    }

    #[test]
    fn a_mapped_array_gives_each_histogram_that_has_counted_and_only_those() {
        let mut counted: HistogramWords = from_fn(|at| at as u64 + 7);
        let silent = [0; HISTOGRAM_WORDS];
        let file = array_of(&[silent, counted, silent]);
        let mapping = Mapping::open(&file, 3).unwrap();
        assert_eq!([0, 1, 2].map(|slot| mapping.counted(slot)), [None, Some(counted), None]);

        // It is the memory itself: what is counted while it is mapped is seen.
        counted[0] += 1;
        let offset = size_of::<HistogramWords>() as u64;
        std::os::unix::fs::FileExt::write_all_at(&file, &counted[0].to_ne_bytes(), offset).unwrap();
        assert_eq!(mapping.counted(1), Some(counted));
    }

    #[test]
    fn what_cannot_be_mapped_is_an_error() {
        assert_eq!(Mapping::open(array_of(&[]), 0).err(), Some(Errno::EINVAL));
        let (pipe, _other_end) = std::io::pipe().unwrap();
        assert_eq!(Mapping::open(pipe, 1).err(), Some(Errno::ENODEV));
    }

    #[test]
    fn writes_without_a_pair_are_losses_of_residence_in_both_directions() {
        let pairs = [1, 2].map(|forwarder| (forwarder, all_outcomes().map(|key| (key, 0)).collect())).into();
        let mut snapshot = KernelSnapshot { pairs, ..KernelSnapshot::default() };
        let mut silent = snapshot.clone();
        settle_pairs(&mut silent);
        assert!(silent.pairs.is_empty() && silent.lost.is_empty());

        let second = snapshot.pairs.get_mut(&2).unwrap();
        second.insert((Direction::Up, PairOutcome::Paired), 9);
        second.insert((Direction::Up, PairOutcome::NoRead), 2);
        second.insert((Direction::Down, PairOutcome::NoRead), 3);
        settle_pairs(&mut snapshot);
        assert_eq!(snapshot.lost, BTreeMap::from([((Measurement::Residence, Loss::Unstamped), 5)]));
        assert_eq!(snapshot.pairs.keys().collect::<Vec<_>>(), [&2], "the first one wrote nothing");
        assert_eq!(snapshot.pairs[&2].len(), 8, "those without a write too, for whoever takes differences");
    }

    #[test]
    fn cpus_are_merged_by_second_and_an_idle_cpus_old_seconds_are_left_out() {
        let rings = [ring(&[(100, 50, true), (101, 40, false)]), ring(&[(101, 30, true), (90, 1, true)])];
        let merged = merge(rings.iter());
        let expected = [
            Floor { second: 100, any_ns: 50, clean_ns: 50, clean_count: 1 },
            Floor { second: 101, any_ns: 30, clean_ns: 30, clean_count: 1 },
        ];
        assert_eq!(merged, expected);
        assert!(merge([].into_iter()).is_empty());
    }
}
