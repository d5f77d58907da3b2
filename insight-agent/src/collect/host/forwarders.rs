//! What do the forwarders cost, and what holds them back?

use super::cgroup::{Group, Hierarchies};
use super::detect::find;
use super::process::{Process, read_stat, read_thread, ticks};
use super::root::Source;
use super::tally::Tally;
use crate::model::host::{
    CgroupCpu, CpuSet, CpuTimes, ForwarderSnapshot, ForwarderTotals, MAX_THREADS, Selector, ThreadSnapshot,
    busy_share,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a set of processes is taken as complete. A look costs some 4 µs a process by name and
/// 100 µs by port (debug build, busy machine). A worker that is up to 10 s old and not yet counted
/// loses nothing, since its counters are there when it is found; half of it would double the cost
/// on a node of 1,000 processes, and twice as much would hide the workers of a reload from a verdict.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The CPUs' times of two readings, if there were two.
pub(super) type Cpus<'a> = Option<(&'a BTreeMap<u32, CpuTimes>, &'a BTreeMap<u32, CpuTimes>)>;

/// The forwarders over all readings.
#[derive(Debug)]
pub(super) struct Forwarders {
    selectors: Vec<Selector>,
    of: Vec<Forwarder>,
    looked: Option<Instant>,
}

/// One forwarder over all readings.
#[derive(Debug, Default)]
struct Forwarder {
    processes: Vec<Process>,
    /// Ticks in user code and in the kernel.
    cpu: Tally<Process, 2>,
    /// Voluntary and involuntary switches.
    switches: Tally<(u32, u32, u64), 2>,
    run_delay_ns: Tally<(u32, u32, u64), 1>,
    /// Periods, throttled ones, throttled ns.
    throttling: Tally<PathBuf, 3>,
}

impl Forwarders {
    pub(super) fn new(selectors: Vec<Selector>) -> Self {
        Self { selectors, of: Vec::new(), looked: None }
    }

    /// Reads them all. Also gives how many selectors, processes and threads were beyond the bounds.
    pub(super) fn read(
        &mut self,
        source: &Source<'_>,
        now: Instant,
        cpus: Cpus<'_>,
    ) -> (Vec<ForwarderSnapshot>, u64) {
        if self.selectors.is_empty() {
            return (Vec::new(), 0);
        }
        let mut capped = if self.is_due(source, now) { self.look(source, now) } else { 0 };
        let hierarchies = Hierarchies::read(source);
        let named = self.selectors.iter().zip(&mut self.of);
        let snapshots = named.map(|(selector, of)| {
            let (mut snapshot, beyond) = of.read(source, &hierarchies);
            capped += beyond;
            snapshot.name.clone_from(&selector.name);
            let share = |allowed| cpus.and_then(|(before, after)| busy_share(before, after, allowed));
            snapshot.allowed_busy = snapshot.allowed_cpus.as_ref().and_then(share);
            snapshot
        });
        (snapshots.collect(), capped)
    }

    /// Whether the set of processes is too old, or one of them has ended: its successor may be there.
    fn is_due(&self, source: &Source<'_>, now: Instant) -> bool {
        let is_old = self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK_EVERY);
        is_old || self.of.iter().flat_map(|of| &of.processes).any(|process| !is_there(source, *process))
    }

    fn look(&mut self, source: &Source<'_>, now: Instant) -> u64 {
        let found = find(source, &self.selectors);
        self.of.resize_with(found.processes.len(), Forwarder::default);
        for (of, processes) in self.of.iter_mut().zip(found.processes) {
            of.processes = processes;
        }
        self.looked = Some(now);
        found.capped
    }
}

/// Whether it still is the process that was found.
fn is_there(source: &Source<'_>, process: Process) -> bool {
    read_stat(source, process.pid).is_some_and(|line| line.started == process.started)
}

impl Forwarder {
    fn read(&mut self, source: &Source<'_>, hierarchies: &Hierarchies) -> (ForwarderSnapshot, u64) {
        let mut lines = Vec::new();
        let mut groups = BTreeMap::new();
        let mut threads = Vec::new();
        let mut beyond = 0;
        for process in &self.processes {
            let line = read_stat(source, process.pid).filter(|line| line.started == process.started);
            let Some(line) = line else { continue };
            lines.push((*process, [line.user, line.system]));
            let group = hierarchies.group(source, process.pid);
            groups.extend(group.map(|group| (group.folder.clone(), group)));
            let ids = source.numbers(format!("proc/{}/task", process.pid));
            let room = MAX_THREADS - threads.len();
            beyond += ids.len().saturating_sub(room) as u64;
            let read = ids.into_iter().take(room).filter_map(|tid| read_thread(source, process.pid, tid));
            threads.extend(read);
        }
        let pids = lines.iter().map(|(process, _)| process.pid).collect();
        let totals = self.totals(lines, &threads);
        let snapshot = ForwarderSnapshot {
            name: String::new(),
            pids,
            totals,
            allowed_cpus: allowed(&threads),
            allowed_busy: None,
            cgroup: self.cgroup(groups),
            threads,
        };
        (snapshot, beyond)
    }

    fn totals(
        &mut self,
        lines: Vec<(Process, [u64; 2])>,
        threads: &[ThreadSnapshot],
    ) -> Option<ForwarderTotals> {
        let key = |thread: &ThreadSnapshot| (thread.pid, thread.tid, thread.started);
        let [user, system] = self.cpu.observe(lines);
        let switches = threads.iter().filter_map(|thread| {
            Some((key(thread), [thread.voluntary_switches?, thread.involuntary_switches?]))
        });
        let [voluntary_switches, involuntary_switches] = self.switches.observe(switches);
        let delays = threads.iter().filter_map(|thread| {
            let ns = u64::try_from(thread.run_delay?.as_nanos()).unwrap_or(u64::MAX);
            Some((key(thread), [ns]))
        });
        let [run_delay_ns] = self.run_delay_ns.observe(delays);
        self.cpu.has_any().then(|| ForwarderTotals {
            user: ticks(user),
            system: ticks(system),
            voluntary_switches,
            involuntary_switches,
            run_delay: self.run_delay_ns.has_any().then(|| Duration::from_nanos(run_delay_ns)),
        })
    }

    fn cgroup(&mut self, groups: BTreeMap<PathBuf, Group>) -> Option<CgroupCpu> {
        let quotas: Option<Vec<_>> = groups.values().map(|group| group.quota).collect();
        let quotas = quotas.filter(|quotas| !quotas.is_empty());
        let counts = groups
            .into_iter()
            .map(|(folder, group)| (folder, [group.periods, group.throttled_periods, group.throttled_ns]));
        let [periods, throttled_periods, throttled_ns] = self.throttling.observe(counts);
        self.throttling.has_any().then(|| CgroupCpu {
            periods,
            throttled_periods,
            throttled: Duration::from_nanos(throttled_ns),
            quota_cores: quotas.as_ref().map(|quotas| quotas.iter().map(|quota| quota.cores).sum()),
            period: quotas.and_then(|quotas| {
                let first = quotas.first()?.period;
                quotas.iter().all(|quota| quota.period == first).then_some(first)
            }),
        })
    }
}

/// The CPUs that any of these may run on. **None**: none of them tells.
fn allowed(threads: &[ThreadSnapshot]) -> Option<CpuSet> {
    let sets = threads.iter().filter_map(|thread| thread.allowed_cpus.clone());
    sets.reduce(|mut all, more| {
        all.extend(more);
        all
    })
}
