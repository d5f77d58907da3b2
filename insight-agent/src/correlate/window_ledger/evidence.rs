//! What the reports of the nodes say about one link, one hop, the service.

use super::{Found, Mean};
use crate::correlate::nodes::{NodeWindows, RecentWindow};
use crate::model::kernel::{LEAST_PAIRED_SHARE, share_of};
use crate::model::ledger::{Evidence, HopHost, Population, SERVICE};
use crate::model::report::SeriesKey;
use crate::model::series::kernel::{FORWARDER, OTHER};
use crate::model::series::lost::Loss;
use insight_common::kernel::turn::{Direction, PairOutcome};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Exchanges are used when at least this share of them had their connection to themselves. The
/// others are those that take longer, so with half of it the mean would be too small.
const CLEAN_SHARE: f64 = 0.9;

/// The kernel stamps a write when the call returns, 2 to 25 µs after the bytes left; a hop's time
/// holds two writes.
const HOP_BOUND: f64 = 50e-6;

/// Why evidence that is there is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused(pub Loss);

/// The reports that matter to one path.
pub(super) struct Nodes<'a> {
    windows: &'a NodeWindows,
    /// Source and target: a hop stands in one of them.
    regions: [&'a str; 2],
    now: Instant,
    fresh: Duration,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(
        windows: &'a NodeWindows,
        regions: [&'a String; 2],
        now: Instant,
        fresh: Duration,
    ) -> Self {
        Self { windows, regions: regions.map(String::as_str), now, fresh }
    }

    /// When a node was last heard of.
    pub(super) fn heard(&self, node: &str) -> Option<Instant> {
        self.regions.iter().filter_map(|region| self.windows.heard(region, node)).max()
    }

    /// How long ago any of these nodes was last heard of.
    pub(super) fn silence(&self, nodes: &[&str]) -> Option<Duration> {
        self.since(nodes.iter().filter_map(|node| self.heard(node)).max())
    }

    /// How long ago any node of the target was last heard of.
    pub(super) fn silence_of_target(&self) -> Option<Duration> {
        self.since(self.windows.last_heard(self.regions[1]))
    }

    fn since(&self, last: Option<Instant>) -> Option<Duration> {
        last.map(|last| self.now.saturating_duration_since(last))
    }

    fn recent(&self, node: &str) -> Option<&'a RecentWindow> {
        self.regions.iter().find_map(|region| self.windows.window(region, node, self.now, self.fresh))
    }

    /// What the forwarders on a node had of their CPUs.
    pub(super) fn host(&self, node: &str) -> Option<HopHost> {
        self.regions.iter().find_map(|region| self.windows.host(region, node, self.now, self.fresh))
    }

    fn age(&self, recent: &RecentWindow) -> Duration {
        self.now.saturating_duration_since(recent.ended)
    }

    /// Round trip between two neighbours.
    pub(super) fn link(&self, from: &str, to: &str, first_link: Option<Mean>) -> Option<Found> {
        let floor = |node: &str, measurement: &str, labels: &[(&str, &str)], evidence| {
            let recent = self.recent(node)?;
            let series = pooled(recent, measurement, labels, |_| true)?;
            let mean = Mean { seconds: series.floor?, bound: 0.0, count: series.count };
            let (node, age) = (Some(node.to_owned()), self.age(recent));
            Some(Found { mean, evidence, population: Population::All, node, age })
        };
        floor(from, "socket_rtt", &[("peer", to), ("role", "connected")], Evidence::RttFloor)
            .or_else(|| floor(to, "socket_rtt", &[("peer", from), ("role", "accepted")], Evidence::RttFloor))
            .or_else(|| {
                let found = floor(from, "link_handshake", &[("to", to)], Evidence::LinkProbe)?;
                Some(Found { population: Population::Probe, ..found })
            })
            .or_else(|| first_link.map(|mean| Found::of_probe(mean, Evidence::Handshake)))
    }

    /// Receive wait + residence of a hop, out and back.
    pub(super) fn hop(&self, before: &str, hop: &str, behind: &str) -> Result<Option<Found>, Refused> {
        let Some(recent) = self.recent(hop) else { return Ok(None) };
        // Away from the prober, and towards it.
        let [out, back] = Direction::ALL.map(Direction::name);
        // Of several forwarders on the node, those that forward on this path: they accept from the one neighbour
        // and write to the other.
        let reads = |forwarder: Option<&str>| {
            let labels = [("peer", before), ("role", "accepted")];
            pooled(recent, "receive_wait", &labels, |one| one == forwarder).is_some()
        };
        let writes = |forwarder: Option<&str>| {
            let labels = [("direction", out), ("peer", behind)];
            pooled(recent, "residence", &labels, |one| one == forwarder).is_some()
        };
        let is_on_path: Vec<_> =
            forwarders(recent).into_iter().filter(|one| reads(*one) && writes(*one)).collect();
        // With none of them, the reason is looked for in all.
        let counts = |forwarder: Option<&str>| is_on_path.is_empty() || is_on_path.contains(&forwarder);
        let part = |measurement, labels: &[_]| pooled(recent, measurement, labels, counts);
        let parts = [
            part("receive_wait", &[("peer", before), ("role", "accepted")]),
            part("residence", &[("direction", out), ("peer", behind)]),
            part("receive_wait", &[("peer", behind), ("role", "connected")]),
            part("residence", &[("direction", back), ("peer", behind)]),
        ];
        for direction in Direction::ALL {
            match paired_share(recent, direction, counts) {
                Some(share) if share > LEAST_PAIRED_SHARE => {}
                Some(_) => return Err(Refused(Loss::Unpaired)),
                // Nothing was forwarded; or its agent measures no residence.
                None => return Ok(None),
            }
        }
        let [Some(_), Some(_), Some(_), Some(_)] = parts else {
            // Writes were paired, but with other neighbours than this path's.
            return if parts[0].is_some() { Err(Refused(Loss::NoPeer)) } else { Ok(None) };
        };
        let parts = parts.into_iter().flatten();
        let (seconds, count) =
            parts.fold((0.0, u64::MAX), |(sum, least), part| (sum + part.mean, least.min(part.count)));
        Ok(Some(Found {
            mean: Mean { seconds, bound: HOP_BOUND, count },
            evidence: Evidence::Kernel,
            population: Population::All,
            node: Some(hop.to_owned()),
            age: self.age(recent),
        }))
    }

    /// Receive → send over all receivers of the target region.
    pub(super) fn service(&self) -> Option<Found> {
        let (mut sum, mut count, mut age, mut only) = (0.0, 0, Duration::ZERO, Vec::new());
        for (node, recent) in self.windows.fresh(self.regions[1], self.now, self.fresh) {
            if let Some(times) = pooled(recent, "service_time", &[], |_| true) {
                sum += times.mean * times.count as f64;
                count += times.count;
                age = age.max(self.age(recent));
                only.push(node);
            }
        }
        let node = if let [one] = only[..] { Some(one.to_owned()) } else { None };
        let mean = Mean { seconds: sum / count as f64, bound: 0.0, count };
        (count > 0).then_some(Found {
            mean,
            evidence: Evidence::Receiver,
            population: Population::Probe,
            node,
            age,
        })
    }

    /// Response of `from` minus turnaround of `to`, which are the ends of a stretch: `next` is whom
    /// `from` asks, `previous` is who asks `to`.
    pub(super) fn exchange(
        &self,
        (from, next): (&str, &str),
        (previous, to): (&str, &str),
    ) -> Result<Option<Found>, Refused> {
        let (Some(near), Some(far)) = (self.recent(from), self.recent(to)) else { return Ok(None) };
        let response = pooled(near, "response", &[("peer", next)], |_| true);
        let turnaround = pooled(far, "turnaround", &[("peer", previous)], |_| true);
        let (Some(response), Some(turnaround)) = (response, turnaround) else { return Ok(None) };
        let shares = [clean_share(near, "response"), clean_share(far, "turnaround")];
        if shares.iter().any(|share| *share < CLEAN_SHARE) {
            return Err(Refused(Loss::Overlapped));
        }
        // What was left out could have been anything up to the mean of the rest.
        let bound = (1.0 - shares[0]) * response.mean + (1.0 - shares[1]) * turnaround.mean;
        let count = response.count.min(turnaround.count);
        Ok(Some(Found {
            mean: Mean { seconds: response.mean - turnaround.mean, bound, count },
            evidence: Evidence::Exchange,
            population: Population::All,
            node: Some(if to == SERVICE { from.to_owned() } else { format!("{from}, {to}") }),
            age: self.age(near).max(self.age(far)),
        }))
    }
}

/// What a window's series come to that differ by their forwarder alone.
#[derive(Debug, Clone, Copy)]
struct Pooled {
    /// Exact. **Unit**: s.
    mean: f64,
    count: u64,
    /// **None**: no event was a minimum. **Unit**: s.
    floor: Option<f64>,
}

/// All series with these labels of forwarders that count; of nobody is **None**. **None**: they had no event.
fn pooled(
    recent: &RecentWindow,
    measurement: &str,
    labels: &[(&str, &str)],
    counts: impl Fn(Option<&str>) -> bool,
) -> Option<Pooled> {
    let wanted = SeriesKey::new(measurement, labels);
    let (mut seconds, mut count, mut floor) = (0.0, 0, None);
    for (key, series) in &recent.window.series {
        let others = key.labels.iter().filter(|(name, _)| name != FORWARDER.name);
        if key.measurement == measurement && others.eq(&wanted.labels) && counts(forwarder_of(key)) {
            seconds += series.mean * series.count as f64;
            count += series.count;
            floor = [floor, series.floor].into_iter().flatten().reduce(f64::min);
        }
    }
    (count > 0).then(|| Pooled { mean: seconds / count as f64, count, floor })
}

/// The forwarder that a series is of. **None**: nobody's, or it tells none apart.
fn forwarder_of(key: &SeriesKey) -> Option<&str> {
    let label = key.labels.iter().find(|(name, _)| name == FORWARDER.name);
    label.map(|(_, forwarder)| forwarder.as_str()).filter(|forwarder| *forwarder != OTHER)
}

/// Everyone who has series on a node.
fn forwarders(recent: &RecentWindow) -> BTreeSet<Option<&str>> {
    recent.window.series.keys().map(forwarder_of).collect()
}

/// Writes of one direction that were paired with a read. **None**: there were no writes.
fn paired_share(
    recent: &RecentWindow,
    direction: Direction,
    counts: impl Fn(Option<&str>) -> bool,
) -> Option<f64> {
    let written = |outcome: PairOutcome| {
        let labels = [("direction", direction.name()), ("outcome", outcome.name())];
        let count = pooled(recent, "pairs", &labels, &counts).map_or(0, |pairs| pairs.count);
        ((direction, outcome), count)
    };
    share_of(&PairOutcome::ALL.into_iter().map(written).collect(), direction)
}

/// Exchanges that had their connection to themselves, of all that were seen. 1 of none.
fn clean_share(recent: &RecentWindow, measurement: &str) -> f64 {
    let mut clean = 0;
    for (key, series) in &recent.window.series {
        clean += if key.measurement == measurement { series.count } else { 0 };
    }
    let labels = [("loss", "overlapped"), ("measurement", measurement)];
    let overlapped = pooled(recent, "lost", &labels, |_| true).map_or(0, |lost| lost.count);
    if clean + overlapped == 0 { 1.0 } else { clean as f64 / (clean + overlapped) as f64 }
}
