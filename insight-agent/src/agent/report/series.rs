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
            let mut labels = match shown.figure.groups() {
                Groups::Peers => vec![("peer", name_of(peers, group))],
                Groups::Devices => vec![("device", name_of(&snapshot.devices, group))],
                Groups::Whole => vec![],
            };
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
                    let key = key(durations_name(kind, shown.series), &with_group(group));
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

/// The name of a group: the configured ones begin at 1.
fn name_of(names: &[String], group: u8) -> &str {
    usize::from(group).checked_sub(1).and_then(|at| names.get(at)).map_or(OTHER, String::as_str)
}

/// What durations go by in a report: their measurement; those of a second family of it as events do.
fn durations_name(kind: Kind, series: &Series) -> &'static str {
    let measurement = kind.measurement();
    let own = SHOWN.get(measurement as usize - 1).and_then(|shown| shown.first());
    if own.is_some_and(|first| first.series.name == series.name) {
        return measurement.name();
    }
    let name = events_name(series);
    name.strip_suffix("_seconds").unwrap_or(name)
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

#[cfg(test)]
mod tests {
    use super::*;
    use insight_common::kernel::layout::Counter;

    #[test]
    fn no_two_figures_go_by_the_same_name_and_labels() {
        let mut snapshot = KernelSnapshot { devices: vec!["eth0".into()], ..KernelSnapshot::default() };
        for kind in Kind::ALL {
            snapshot.durations.insert((kind as u32, 1), Durations { count: 1, ..Durations::default() });
        }
        for counter in Counter::ALL {
            snapshot.counts.insert((counter, 1), 1);
        }
        let series = of_kernel(&snapshot, &Floors::default(), &["sg".to_owned()]);
        assert_eq!(series.len(), Kind::ALL.len() + Counter::ALL.len());
        for (measurement, labels) in [
            ("qdisc_wait", [("device", "eth0")].as_slice()),
            ("driver_xmit", &[("device", "eth0")]),
            ("receive_wait", &[("peer", "sg"), ("role", "accepted")]),
            ("runqueue_wait", &[]),
            ("packet_drops", &[("class", "qdisc")]),
        ] {
            assert!(series.contains_key(&key(measurement, labels)), "{measurement} {labels:?}");
        }
    }
}
