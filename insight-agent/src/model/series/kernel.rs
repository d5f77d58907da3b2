//! What all kernel measurements share: bounds and labels.

use super::{Label, Series, closed, configured};
use insight_common::kernel::layout::{Counter, Distribution, Group, Groups};

/// The group of everybody whom no configured group holds.
pub const OTHER: &str = "other";

/// The shortest bound: 2^10 ns. Below a microsecond nothing that is measured here has a meaning.
pub const FIRST_POWER: u32 = 10;

/// The longest bound: 2^34 ns, 17 s. What is beyond it is in the `+Inf` bucket.
pub const LAST_POWER: u32 = 34;

/// How many bounds there are.
const COUNT: usize = (LAST_POWER - FIRST_POWER + 1) as usize;

/// Powers of two of a nanosecond, in seconds: edges of the kernel's own buckets, so that nothing
/// is spread over two.
pub const BOUNDS: [f64; COUNT] = bounds();

const fn bounds() -> [f64; COUNT] {
    let mut bounds = [0.0; COUNT];
    let mut at = 0;
    while at < COUNT {
        bounds[at] = (1_u64 << (FIRST_POWER as usize + at)) as f64 / 1e9;
        at += 1;
    }
    bounds
}

/// Who opened the connection.
pub const ROLE: Label = closed("role", &["connected", "accepted"]);

/// Who is at its other end.
pub const PEER: Label = configured("peer", "the [[kernel.peer]] tables, and \"other\"");

/// Whose connection, or whose thread, it is.
pub const FORWARDER: Label = configured("forwarder", "the [[forwarder]] tables, and \"other\"");

/// Which network device.
pub const DEVICE: Label = configured("device", "kernel.devices");

/// What the kernel half keeps of a measurement, and where it is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    /// What is kept.
    pub figure: Figure,
    /// The family that it is part of.
    pub series: &'static Series,
    /// Its values of the family's labels but [`FORWARDER`], [`PEER`] and [`DEVICE`]. A family without one of them
    /// shows the sum over it.
    pub labels: &'static [(&'static str, &'static str)],
}

/// A figure of the kernel half. There is one for each of its groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Durations.
    Durations(Distribution),
    /// Events.
    Events(Counter),
}

impl Figure {
    /// What its groups stand for.
    pub const fn groups(self) -> Groups {
        match self {
            Self::Durations(distribution) => distribution.groups(),
            Self::Events(counter) => counter.groups(),
        }
    }
}

/// A distribution as part of a histogram.
pub const fn durations(
    distribution: Distribution,
    series: &'static Series,
    labels: &'static [(&'static str, &'static str)],
) -> Shown {
    Shown { figure: Figure::Durations(distribution), series, labels }
}

/// A counter as part of a family.
pub const fn events(
    counter: Counter,
    series: &'static Series,
    labels: &'static [(&'static str, &'static str)],
) -> Shown {
    Shown { figure: Figure::Events(counter), series, labels }
}

/// What groups are called: as configured, from 1 on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Peer groups.
    pub peers: Vec<String>,
    /// Forwarders.
    pub forwarders: Vec<String>,
}

impl Names {
    /// A peer group's.
    pub fn peer(&self, peer: u8) -> &str {
        name_of(&self.peers, peer)
    }

    /// A forwarder's.
    pub fn forwarder(&self, forwarder: u8) -> &str {
        name_of(&self.forwarders, forwarder)
    }

    /// The labels that tell the groups of a figure apart, with a group's values; `devices` is what those are
    /// called.
    pub fn labels<'a>(
        &'a self,
        figure: Figure,
        group: Group,
        devices: &'a [String],
    ) -> impl Iterator<Item = (&'static str, &'a str)> {
        let forwarder = (FORWARDER.name, self.forwarder(group.forwarder));
        let labels = match figure.groups() {
            Groups::Peers => [Some(forwarder), Some((PEER.name, self.peer(group.peer)))],
            Groups::Forwarders => [Some(forwarder), None],
            Groups::Devices => [Some((DEVICE.name, name_of(devices, group.peer))), None],
            Groups::Whole => [None, None],
        };
        labels.into_iter().flatten()
    }
}

/// The configured ones begin at 1.
fn name_of(names: &[String], number: u8) -> &str {
    usize::from(number).checked_sub(1).and_then(|at| names.get(at)).map_or(OTHER, String::as_str)
}

macro_rules! list {
    ($($name:ident $kind:ident $default:ident $about:literal [$($distribution:ident)*] [$($counter:ident)*];)*) => {
        /// Where each measurement's figures are shown, measurement by measurement.
        pub const SHOWN: &[&[Shown]] = &[$(super::$name::SHOWN,)*];
    };
}
insight_common::measurements!(list);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::series::Kind;

    #[test]
    fn every_figure_is_shown_once_by_its_own_measurement_with_all_labels() {
        let all: Vec<_> = SHOWN.iter().copied().flatten().collect();
        let wanted =
            Distribution::ALL.map(Figure::Durations).into_iter().chain(Counter::ALL.map(Figure::Events));
        for figure in wanted {
            let shown: Vec<_> = all.iter().filter(|shown| shown.figure == figure).collect();
            let [shown] = shown.as_slice() else { panic!("{figure:?} is shown {} times", shown.len()) };
            let (measurement, is_histogram) = match figure {
                Figure::Durations(distribution) => (distribution.measurement(), true),
                Figure::Events(counter) => (counter.measurement(), false),
            };
            assert_eq!(matches!(shown.series.kind, Kind::Histogram(_)), is_histogram, "{figure:?}");
            let own = SHOWN[measurement as usize - 1];
            assert!(own.contains(shown), "{figure:?} is not in the file of {}", measurement.name());
            let of_group = |label: &Label| [FORWARDER, PEER, DEVICE].contains(label);
            let groups: Vec<_> = shown.series.labels.iter().filter(|label| of_group(label)).collect();
            let allowed: &[&Label] = match figure.groups() {
                Groups::Peers => &[&FORWARDER, &PEER],
                Groups::Forwarders => &[&FORWARDER],
                Groups::Devices => &[&DEVICE],
                Groups::Whole => &[],
            };
            assert!(groups.iter().all(|label| allowed.contains(label)), "{figure:?}: {groups:?}");
            assert_eq!(groups.contains(&&FORWARDER), allowed.contains(&&FORWARDER), "{figure:?}");
            let names = shown.series.labels.iter().filter(|label| !of_group(label)).map(|label| label.name);
            assert!(names.eq(shown.labels.iter().map(|(name, _)| *name)), "{figure:?}: labels in order");
        }
    }
}
