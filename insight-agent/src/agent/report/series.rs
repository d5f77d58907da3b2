//! What the kernel half counted, as series of a report.

use crate::clock::AgentClock;
use crate::model::kernel::{Durations, KernelSnapshot};
use crate::model::report::{Distribution, FLOOR_SECONDS, SeriesKey};
use crate::model::series::Series;
use crate::model::series::kernel::{Figure, OTHER, SHOWN};
use insight_common::kernel::layout::{Distribution as Kind, Groups, Role};
use std::collections::BTreeMap;

/// One-second minima of round trips, gathered for as long as reports carry them: the kernel itself
/// keeps a few seconds only.
#[derive(Debug, Clone, Default)]
pub(in crate::agent) struct Floors(BTreeMap<(u8, u8), BTreeMap<u32, u64>>);

impl Floors {
    /// Adds the seconds that a snapshot holds, as seconds of the uptime. Only clean samples count:
    /// the others contain the peer's think time.
    pub(in crate::agent) fn gather(&mut self, snapshot: &KernelSnapshot, clock: AgentClock) {
        for (role, peer, seconds) in &snapshot.floors {
            let clean = seconds.iter().filter(|floor| floor.clean_count > 0);
            for floor in clean {
                let Some(second) = clock.second_of(floor.second) else { continue };
                let kept = self.0.entry((*role as u8, *peer)).or_default();
                let least = kept.entry(second).or_insert(floor.clean_ns);
                *least = (*least).min(floor.clean_ns);
            }
        }
        for kept in self.0.values_mut() {
            while kept.len() > FLOOR_SECONDS {
                kept.pop_first();
            }
        }
    }

    fn of(&self, role: Role, peer: u8) -> BTreeMap<u32, u64> {
        self.0.get(&(role as u8, peer)).cloned().unwrap_or_default()
    }
}

/// The series of a snapshot. Peer groups go by the names of `peers`, from group 1 on.
pub(super) fn of_kernel(
    snapshot: &KernelSnapshot,
    floors: &Floors,
    peers: &[String],
) -> BTreeMap<SeriesKey, Distribution> {
    let mut series = BTreeMap::new();
    for shown in SHOWN.iter().copied().flatten() {
        let with_group = |group: u8| {
            let mut labels = Vec::new();
            if shown.figure.groups() == Groups::Peers {
                let peer = usize::from(group).checked_sub(1).and_then(|at| peers.get(at));
                labels.push(("peer", peer.map_or(OTHER, String::as_str)));
            }
            labels.extend(shown.labels);
            labels
        };
        match shown.figure {
            Figure::Durations(kind) => {
                let of_kind = snapshot.durations.range((kind as u32, 0)..=(kind as u32, u8::MAX));
                for (&(_, group), durations) in of_kind {
                    let floors = match kind {
                        Kind::RttConnected => floors.of(Role::Connected, group),
                        Kind::RttAccepted => floors.of(Role::Accepted, group),
                        _ => BTreeMap::new(),
                    };
                    let key = key(kind.measurement().name(), &with_group(group));
                    series.insert(key, distribution(durations, floors));
                }
            }
            Figure::Events(counter) => {
                for (&(_, group), &events) in snapshot.counts.range((counter, 0)..=(counter, u8::MAX)) {
                    series.insert(key(events_name(shown.series), &with_group(group)), count(events));
                }
            }
        }
    }
    for (&(direction, outcome), &events) in &snapshot.pairs {
        let labels = [("direction", direction.name()), ("outcome", outcome.name())];
        series.insert(key("pairs", &labels), count(events));
    }
    series
}

/// What events go by in a report, since a measurement can have durations and events: the name of
/// their family without what all families share.
fn events_name(series: &Series) -> &'static str {
    let name = series.name;
    let name = name.strip_prefix("insight_").unwrap_or(name);
    name.strip_suffix("_total").unwrap_or(name)
}

/// A series by its labels in any order.
pub(super) fn key(measurement: &str, labels: &[(&str, &str)]) -> SeriesKey {
    let mut labels: Vec<_> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    labels.sort();
    SeriesKey { measurement: measurement.to_owned(), labels }
}

/// Events without a duration.
pub(super) fn count(events: u64) -> Distribution {
    Distribution { count: events, ..Distribution::default() }
}

fn distribution(durations: &Durations, floors: BTreeMap<u32, u64>) -> Distribution {
    let filled = durations.buckets.iter().enumerate().filter(|(_, events)| **events > 0);
    Distribution {
        count: durations.count,
        sum_ns: durations.sum_ns,
        // There are 496 buckets.
        buckets: filled.map(|(bucket, events)| (bucket as u32, *events)).collect(),
        floors,
    }
}
