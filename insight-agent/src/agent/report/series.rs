//! What the kernel half counted, as series of a report.

use crate::clock::AgentClock;
use crate::model::kernel::{Durations, KernelSnapshot};
use crate::model::report::{Distribution, FLOOR_SECONDS, SeriesKey};
use crate::model::series::Series;
use crate::model::series::kernel::{FORWARDER, Figure, Names, SHOWN};
use insight_common::kernel::layout::{Distribution as Kind, Group, Role};
use std::collections::BTreeMap;

/// One-second minima of round trips, gathered for as long as reports carry them: the kernel itself
/// keeps a few seconds only.
#[derive(Debug, Clone, Default)]
pub(in crate::agent) struct Floors(BTreeMap<(u8, Group), BTreeMap<u32, u64>>);

impl Floors {
    /// Adds the seconds that a snapshot holds, as seconds of the uptime. Only clean samples count:
    /// the others contain the peer's think time.
    pub(in crate::agent) fn gather(&mut self, snapshot: &KernelSnapshot, clock: AgentClock) {
        for (role, group, seconds) in &snapshot.floors {
            let clean = seconds.iter().filter(|floor| floor.clean_count > 0);
            for floor in clean {
                let Some(second) = clock.second_of(floor.second) else { continue };
                let kept = self.0.entry((*role as u8, *group)).or_default();
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

    fn of(&self, role: Role, group: Group) -> BTreeMap<u32, u64> {
        self.0.get(&(role as u8, group)).cloned().unwrap_or_default()
    }
}

/// The series of a snapshot. Events that never happened have none.
pub(super) fn of_kernel(
    snapshot: &KernelSnapshot,
    floors: &Floors,
    names: &Names,
) -> BTreeMap<SeriesKey, Distribution> {
    let mut series = BTreeMap::new();
    for shown in SHOWN.iter().copied().flatten() {
        let with_group = |group: Group| {
            let of_group = names.labels(shown.figure, group, &snapshot.devices);
            of_group.chain(shown.labels.iter().copied()).collect::<Vec<_>>()
        };
        match shown.figure {
            Figure::Durations(kind) => {
                for (group, durations) in snapshot.durations_of(kind) {
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
                for (group, events) in snapshot.counts_of(counter).filter(|(_, events)| *events > 0) {
                    series.insert(key(events_name(shown.series), &with_group(group)), count(events));
                }
            }
        }
    }
    for (forwarder, pairs) in &snapshot.pairs {
        let forwarder = (FORWARDER.name, names.forwarder(*forwarder));
        for (&(direction, outcome), &events) in pairs {
            let labels = [forwarder, ("direction", direction.name()), ("outcome", outcome.name())];
            series.insert(key("pairs", &labels), count(events));
        }
    }
    series
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
        let first = Group { peer: 1, forwarder: 1 };
        for kind in Kind::ALL {
            snapshot.durations.insert((kind as u32, first), Durations { count: 1, ..Durations::default() });
        }
        for counter in Counter::ALL {
            snapshot.counts.insert((counter, first), 1);
        }
        let names = Names { peers: vec!["sg".to_owned()], forwarders: vec!["nginx".to_owned()] };
        let series = of_kernel(&snapshot, &Floors::default(), &names);
        assert_eq!(series.len(), Kind::ALL.len() + Counter::ALL.len());
        for (measurement, labels) in [
            ("qdisc_wait", [("device", "eth0")].as_slice()),
            ("driver_xmit", &[("device", "eth0")]),
            ("receive_wait", &[("forwarder", "nginx"), ("peer", "sg"), ("role", "accepted")]),
            ("runqueue_wait", &[("forwarder", "nginx")]),
            ("packet_drops", &[("class", "qdisc")]),
        ] {
            assert!(series.contains_key(&key(measurement, labels)), "{measurement} {labels:?}");
        }
    }
}
