//! What the programs in the kernel have counted, and whether they could.

use insight_common::histogram::{EXPORT_BUCKETS, EXPORT_POWER, lower_bound, upper_bound};
use insight_common::kernel::floor::{FLOOR_SECONDS, Floor};
use insight_common::kernel::layout::{Counter, Distribution, Group, Role, Table};
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::turn::{Direction, PairOutcome};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Whether a measurement runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It measures.
    Active,
    /// This kernel, or the configuration, does not have it.
    Disabled(Reason),
    /// It should run and does not.
    Failed(Reason),
}

impl State {
    /// The `state` label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled(_) => "disabled",
            Self::Failed(_) => "failed",
        }
    }

    /// The `reason` label's value; empty while it is active.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Active => "",
            Self::Disabled(reason) | Self::Failed(reason) => reason.name(),
        }
    }
}

/// Why a measurement does not run: the closed set of the `reason` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The configuration does not ask for it.
    Off,
    /// It measures forwarders, and none is configured.
    NoForwarder,
    /// It measures devices, and none that is here is configured.
    NoDevice,
    /// The kernel does not describe its types.
    NoBtf,
    /// The kernel has no such hook.
    HookAbsent,
    /// The kernel's types lack a member.
    MemberAbsent,
    /// The kernel refused a program.
    Refused,
    /// The agent may not load programs.
    Permission,
    /// There is no cgroup to attach to, or the one of the scope is missing.
    NoCgroup,
    /// A network namespace of the scope is missing.
    NoNamespace,
    /// It cannot be limited to the scope.
    Unscoped,
    /// The thread that reads the maps ended, and the programs with it.
    Stopped,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Off,
        Self::NoForwarder,
        Self::NoDevice,
        Self::NoBtf,
        Self::HookAbsent,
        Self::MemberAbsent,
        Self::Refused,
        Self::Permission,
        Self::NoCgroup,
        Self::NoNamespace,
        Self::Unscoped,
        Self::Stopped,
    ];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::NoForwarder => "no_forwarder",
            Self::NoDevice => "no_device",
            Self::NoBtf => "no_btf",
            Self::HookAbsent => "hook_absent",
            Self::MemberAbsent => "member_absent",
            Self::Refused => "refused",
            Self::Permission => "permission",
            Self::NoCgroup => "no_cgroup",
            Self::NoNamespace => "no_namespace",
            Self::Unscoped => "unscoped",
            Self::Stopped => "stopped",
        }
    }
}

/// A distribution of durations since the programs were loaded, or over a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durations {
    /// How many.
    pub count: u64,
    /// Their exact sum. **Unit**: ns.
    pub sum_ns: u64,
    /// By H2 bucket of power 3. **Length**: `EXPORT_BUCKETS`.
    pub buckets: Vec<u64>,
}

impl Default for Durations {
    fn default() -> Self {
        Self { count: 0, sum_ns: 0, buckets: vec![0; EXPORT_BUCKETS] }
    }
}

impl Durations {
    /// Adds another one, of another CPU or another group.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        // Wraps after 584 years of waiting.
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(bucket, more)| *bucket += more);
    }

    /// What came after `earlier`. **None**: `earlier` holds more, so the programs were loaded anew.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let buckets = self.buckets.iter().zip(&earlier.buckets);
        Some(Self {
            count: self.count.checked_sub(earlier.count)?,
            sum_ns: self.sum_ns.checked_sub(earlier.sum_ns)?,
            buckets: buckets.map(|(now, before)| now.checked_sub(*before)).collect::<Option<_>>()?,
        })
    }

    /// Exact mean. **Unit**: ns. **None**: nothing was measured.
    pub fn mean_ns(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_ns as f64 / self.count as f64)
    }

    /// The `q`-quantile (nearest rank), within 6.25 %. **Unit**: ns. **None**: nothing was measured.
    pub fn quantile_ns(&self, q: f64) -> Option<f64> {
        // The buckets are read one after the other while programs write: their own sum is what a
        // rank can be looked for in.
        let total: u64 = self.buckets.iter().sum();
        let rank = ((q.clamp(0.0, 1.0) * total as f64) as u64).clamp(1, total.max(1));
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|held| {
            seen += held;
            seen >= rank
        })?;
        let (low, high) = (lower_bound(bucket, EXPORT_POWER), upper_bound(bucket, EXPORT_POWER));
        Some(f64::midpoint(low as f64, high as f64))
    }
}

/// Everything that the programs have counted, at an instant. Cumulative but for the floors.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelSnapshot {
    /// When reading began: what happened before is in it.
    pub taken: Instant,
    /// The same instant on the clock of the programs, CLOCK_MONOTONIC, which the floors' seconds
    /// are of. **Unit**: ns. 0: unknown.
    pub taken_ns: u64,
    /// By distribution and group; peer groups and forwarders are numbered as configured, 0 is everybody else.
    pub durations: BTreeMap<(u32, Group), Durations>,
    /// Events by kind and group. Those of a measurement that does not run are missing; of one that
    /// does every kind is there, with every group that it is told apart by.
    pub counts: BTreeMap<(Counter, Group), u64>,
    /// Minima of round trips: role, group, and the last seconds in rising order.
    pub floors: Vec<(Role, Group, Vec<Floor>)>,
    /// Losses that happened.
    pub lost: BTreeMap<(Measurement, Loss), u64>,
    /// Writes of forwarders, by their number, of those that have written: every direction and outcome is there.
    pub pairs: BTreeMap<u8, Pairs>,
    /// Names of the configured devices, from group 1 on.
    pub devices: Vec<String>,
    /// Sockets that were open before the programs and are measured since, by role. **Empty**: nothing
    /// was loaded.
    pub seeded: Vec<(Role, u64)>,
    /// Entries of sockets that are open now. **None**: nothing was loaded, or they cannot be counted.
    pub entries: Option<Entries>,
    /// What each program has cost.
    pub programs: Vec<ProgramCost>,
}

/// Open sockets in the table of the programs, as a walk over it found them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// Sockets that connected, or still do.
    pub connected: u64,
    /// Sockets that were accepted, or are going to be.
    pub accepted: u64,
    /// Sockets that wait for connections.
    pub listeners: u64,
    /// Connections of which everything is measured, by role and peer group. **Empty**: there are none, or all
    /// connections are measured so.
    pub sampled: BTreeMap<(Role, u8), u64>,
}

impl Entries {
    /// How many a table has.
    pub fn of(&self, table: Table) -> u64 {
        match table {
            Table::Sockets => self.connected + self.accepted + self.listeners,
            Table::Sampled => self.sampled.values().sum(),
        }
    }
}

/// Runs and time of one program since it was loaded, as far as the kernel counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramCost {
    /// Its name in the object.
    pub program: &'static str,
    /// How often it ran while the kernel counted.
    pub runs: u64,
    /// How long in all. **Unit**: ns.
    pub time_ns: u64,
    /// Runs that the kernel left out, since the program was already running on that CPU. Always counted.
    pub recursion_misses: u64,
}

impl ProgramCost {
    /// Mean time of a run. **Unit**: ns. **None**: none was counted.
    pub fn per_run_ns(&self) -> Option<u64> {
        self.time_ns.checked_div(self.runs)
    }
}

/// Writes of forwarders, by the way they went and by what was read before them.
pub type Pairs = BTreeMap<(Direction, PairOutcome), u64>;

/// A direction's residence belongs into a ledger only if more than this share of its writes is
/// paired. Below it the forwarder is of a kind that hands work between threads or waits in between,
/// and a pair may be of two requests that have nothing to do with each other.
pub const LEAST_PAIRED_SHARE: f64 = 0.5;

/// Which share of all forwarders' writes in `direction` since the programs were loaded followed a
/// read on the other side in the same turn. **Range**: 0 to 1. **None**: nothing was written.
pub fn paired_share(snapshot: &KernelSnapshot, direction: Direction) -> Option<f64> {
    share_of(&snapshot.all_pairs(), direction)
}

/// As [`paired_share`], of the writes in `pairs`, which may be those of a window.
pub fn share_of(pairs: &Pairs, direction: Direction) -> Option<f64> {
    let count = |outcome| pairs.get(&(direction, outcome)).copied().unwrap_or(0);
    let all: u64 = PairOutcome::ALL.into_iter().map(count).sum();
    (all > 0).then(|| count(PairOutcome::Paired) as f64 / all as f64)
}

impl Default for KernelSnapshot {
    /// Of now, without a clock of the kernel: what tests start from.
    fn default() -> Self {
        Self::at(Instant::now(), 0)
    }
}

impl KernelSnapshot {
    /// With nothing in it yet.
    pub const fn at(taken: Instant, taken_ns: u64) -> Self {
        Self {
            taken,
            taken_ns,
            durations: BTreeMap::new(),
            counts: BTreeMap::new(),
            floors: Vec::new(),
            lost: BTreeMap::new(),
            pairs: BTreeMap::new(),
            devices: Vec::new(),
            seeded: Vec::new(),
            entries: None,
            programs: Vec::new(),
        }
    }

    /// How long before `now` it was taken. 0 if it was taken after.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.taken)
    }

    /// One distribution by its groups.
    pub fn durations_of(&self, distribution: Distribution) -> impl Iterator<Item = (Group, &Durations)> {
        let wanted = distribution as u32;
        let held = self.durations.range((wanted, Group::default())..=(wanted, Group::LAST));
        held.map(|((_, group), durations)| (*group, durations))
    }

    /// Events of one kind by their groups.
    pub fn counts_of(&self, counter: Counter) -> impl Iterator<Item = (Group, u64)> {
        let held = self.counts.range((counter, Group::default())..=(counter, Group::LAST));
        held.map(|((_, group), count)| (*group, *count))
    }

    /// One distribution over all groups.
    pub fn all_groups(&self, distribution: Distribution) -> Durations {
        let mut sum = Durations::default();
        self.durations_of(distribution).for_each(|(_, durations)| sum.add(durations));
        sum
    }

    /// One distribution of a peer group, over all forwarders. **None**: nothing was measured.
    pub fn of_peer(&self, distribution: Distribution, peer: u8) -> Option<Durations> {
        let held = self.durations_of(distribution).filter(|(group, _)| group.peer == peer);
        held.fold(None, |sum: Option<Durations>, (_, durations)| {
            let mut sum = sum.unwrap_or_default();
            sum.add(durations);
            Some(sum)
        })
    }

    /// Events of one kind, over all groups. **None**: they are not counted.
    pub fn count(&self, counter: Counter) -> Option<u64> {
        self.counts_of(counter).map(|(_, count)| count).reduce(|sum, count| sum + count)
    }

    /// Writes of all forwarders.
    pub fn all_pairs(&self) -> Pairs {
        let mut all = Pairs::new();
        for (key, count) in self.pairs.values().flatten() {
            *all.entry(*key).or_default() += count;
        }
        all
    }

    /// How often `measurement` lost a sample by `loss`.
    pub fn lost(&self, measurement: Measurement, loss: Loss) -> u64 {
        self.lost.get(&(measurement, loss)).copied().unwrap_or(0)
    }

    /// Writes of all forwarders after `earlier`. **None**: `earlier` holds more, so the programs were
    /// loaded anew.
    pub fn pairs_since(&self, earlier: &Self) -> Option<Pairs> {
        let (pairs, earlier) = (self.all_pairs(), earlier.all_pairs());
        let before = |key| earlier.get(key).copied().unwrap_or(0);
        // An empty later snapshot would hide a restart.
        if pairs.is_empty() && !earlier.is_empty() {
            return None;
        }
        pairs.iter().map(|(key, now)| Some((*key, now.checked_sub(before(key))?))).collect()
    }

    /// The clean minimum of the last seconds. **Unit**: ns. **None**: no clean sample in them, so
    /// the smallest of the others is an upper bound only; or no sample at all, as of an idle group,
    /// whose old seconds stay in the map until new ones take their place.
    pub fn clean_floor_ns(&self, role: Role, group: Group) -> Option<u64> {
        let kept = self.floors.iter().find(|(r, g, _)| *r == role && *g == group)?;
        let now = self.taken_ns / 1_000_000_000;
        let fresh = |floor: &&Floor| now.saturating_sub(floor.second) <= FLOOR_SECONDS as u64;
        let clean = kept.2.iter().filter(fresh).filter(|floor| floor.clean_count > 0);
        clean.map(|floor| floor.clean_ns).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insight_common::histogram::bucket_of;

    fn of(values: &[u64]) -> Durations {
        let mut durations = Durations::default();
        for value in values {
            durations.count += 1;
            durations.sum_ns += value;
            durations.buckets[bucket_of(*value, EXPORT_POWER)] += 1;
        }
        durations
    }

    #[test]
    fn a_window_is_the_difference_and_a_restart_is_none() {
        let (early, late) = (of(&[10, 20]), of(&[10, 20, 1_000]));
        assert_eq!(late.since(&early), Some(of(&[1_000])));
        assert_eq!(early.since(&late), None);
    }

    #[test]
    fn nothing_measured_has_no_mean_and_no_quantile() {
        assert_eq!((of(&[]).mean_ns(), of(&[]).quantile_ns(0.5)), (None, None));
    }

    #[test]
    fn a_quantile_lies_in_its_bucket() {
        let read = of(&[1_000, 2_000, 4_000]).quantile_ns(0.7).unwrap();
        assert!((read - 2_000.0).abs() < 2_000.0 / 16.0 + 1.0, "{read}");
    }

    fn pairs(counts: &[(Direction, PairOutcome, u64)]) -> KernelSnapshot {
        // Of two forwarders.
        let of = |&(direction, outcome, count): &(_, _, u64)| {
            [(1, count / 2), (2, count - count / 2)]
                .map(|(forwarder, count)| (forwarder, (direction, outcome), count))
        };
        let mut snapshot = KernelSnapshot::default();
        for (forwarder, key, count) in counts.iter().flat_map(of) {
            snapshot.pairs.entry(forwarder).or_default().insert(key, count);
        }
        snapshot
    }

    #[test]
    fn the_paired_share_is_of_all_writes_in_one_direction() {
        let snapshot = pairs(&[
            (Direction::Up, PairOutcome::Paired, 3),
            (Direction::Up, PairOutcome::NoRead, 1),
            (Direction::Up, PairOutcome::SameSocket, 1),
            (Direction::Up, PairOutcome::SameRole, 1),
        ]);
        assert_eq!(paired_share(&snapshot, Direction::Up), Some(0.5));
        assert_eq!(paired_share(&snapshot, Direction::Down), None, "nothing was written");
    }

    #[test]
    fn writes_of_a_window_are_the_difference_and_a_restart_is_none() {
        let early = pairs(&[(Direction::Up, PairOutcome::Paired, 3)]);
        let late = pairs(&[(Direction::Up, PairOutcome::Paired, 3), (Direction::Up, PairOutcome::NoRead, 2)]);
        let window = late.pairs_since(&early).unwrap();
        assert_eq!(share_of(&window, Direction::Up), Some(0.0));
        assert_eq!(pairs(&[]).pairs_since(&early), None);
        assert_eq!(pairs(&[(Direction::Up, PairOutcome::Paired, 2)]).pairs_since(&early), None);
    }

    #[test]
    fn a_floor_without_clean_samples_is_no_floor() {
        let floor = |clean_count, clean_ns| Floor { second: 1, any_ns: 5, clean_ns, clean_count };
        let mut snapshot = KernelSnapshot::default();
        snapshot.floors.push((Role::Connected, Group::of_peer(0), vec![floor(0, u64::MAX)]));
        snapshot.floors.push((Role::Connected, Group::of_peer(1), vec![floor(0, u64::MAX), floor(2, 7)]));
        assert_eq!(snapshot.clean_floor_ns(Role::Connected, Group::of_peer(0)), None);
        assert_eq!(snapshot.clean_floor_ns(Role::Connected, Group::of_peer(1)), Some(7));
    }

    #[test]
    fn an_idle_groups_old_seconds_are_no_floor() {
        let floor = |second, clean_ns| Floor { second, any_ns: 5, clean_ns, clean_count: 1 };
        let taken_in = |second: u64| {
            let mut snapshot = KernelSnapshot::at(Instant::now(), second * 1_000_000_000 + 999_999_999);
            snapshot.floors.push((Role::Connected, Group::of_peer(0), vec![floor(100, 7), floor(101, 9)]));
            snapshot.clean_floor_ns(Role::Connected, Group::of_peer(0))
        };
        assert_eq!(taken_in(108), Some(7));
        assert_eq!(taken_in(109), Some(9), "the older of two is too old");
        assert_eq!(taken_in(110), None);
    }
}
