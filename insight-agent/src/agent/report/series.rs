//! What the kernel half counted, as series of a report.

use crate::clock::AgentClock;
use crate::model::kernel::{Durations, KernelSnapshot};
use crate::model::report::{Distribution, FLOOR_SECONDS, SeriesKey};
use crate::model::series::kernel::OTHER;
use crate::model::series::residence::DIRECTIONS;
use insight_common::kernel::layout::{Distribution as Kind, Role};
use insight_common::kernel::loss::Measurement;
use std::collections::BTreeMap;

/// The label that a distribution has beside `peer`, and its value.
type Label = Option<(&'static str, &'static str)>;

/// Each distribution of the kernel half with its measurement.
const ROWS: [(Kind, Measurement, Label); 8] = [
    (Kind::RttConnected, Measurement::SocketRtt, role(Role::Connected)),
    (Kind::RttAccepted, Measurement::SocketRtt, role(Role::Accepted)),
    (Kind::ReceiveWaitConnected, Measurement::ReceiveWait, role(Role::Connected)),
    (Kind::ReceiveWaitAccepted, Measurement::ReceiveWait, role(Role::Accepted)),
    (Kind::Turnaround, Measurement::Turnaround, None),
    (Kind::Response, Measurement::Response, None),
    (Kind::ResidenceUp, Measurement::Residence, Some(("direction", DIRECTIONS[0]))),
    (Kind::ResidenceDown, Measurement::Residence, Some(("direction", DIRECTIONS[1]))),
];

const fn role(role: Role) -> Label {
    Some(("role", role.name()))
}

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
    for (kind, measurement, label) in ROWS {
        for (&(_, group), durations) in snapshot.durations.range((kind as u32, 0)..=(kind as u32, u8::MAX)) {
            let peer = usize::from(group).checked_sub(1).and_then(|at| peers.get(at));
            let mut labels = vec![("peer", peer.map_or(OTHER, String::as_str))];
            labels.extend(label);
            let floors = match kind {
                Kind::RttConnected => floors.of(Role::Connected, group),
                Kind::RttAccepted => floors.of(Role::Accepted, group),
                _ => BTreeMap::new(),
            };
            series.insert(key(measurement.name(), &labels), distribution(durations, floors));
        }
    }
    for (&(direction, outcome), &events) in &snapshot.pairs {
        let labels = [("direction", direction.name()), ("outcome", outcome.name())];
        series.insert(key("pairs", &labels), count(events));
    }
    series
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
