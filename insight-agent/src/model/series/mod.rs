//! The metric table: every series' name, help, kind, labels and bound, written once.
//!
//! One file per measurement. The exporter registers what [`all`] lists and nothing else; a
//! series that is not here cannot be exported.

pub mod agent;
pub mod burst;
pub mod connections;
pub mod discovery;
pub mod health;
pub mod host;
pub mod kernel;
pub mod link;
pub mod listener;
pub mod lost;
pub mod path;
pub mod probe;
pub mod service;
pub mod sockets;
pub mod stream;

/// What kind of Prometheus metric a series is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only ever rises; the name ends in `_total`.
    Counter,
    /// Rises and falls; a missing value is an absent series.
    Gauge,
    /// A number that another exporter shows without saying what kind it is.
    Untyped,
    /// Cumulative buckets with these inclusive upper bounds, in the series' unit, rising.
    Histogram(&'static [f64]),
    /// Sum, in the series' unit, and count: what a mean is made of.
    Summary,
}

/// One dimension of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// The label's name.
    pub name: &'static str,
    /// What it can be.
    pub values: Values,
}

/// Where a label's values come from: what bounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// One of these.
    Closed(&'static [&'static str]),
    /// A name out of the configuration; the text says which.
    Configured(&'static str),
    /// Exactly one value per process; the text says what.
    Constant(&'static str),
    /// What the host has; the text says of what.
    Host(&'static str),
}

/// One family of the exporter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Series {
    /// The family's name.
    pub name: &'static str,
    /// What it says, with its unit, for people.
    pub help: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Its labels, in the order in which values are given.
    pub labels: &'static [Label],
    /// The most series it can make, in terms of the configuration.
    pub bound: &'static str,
}

/// A label whose values come from the configuration.
const fn configured(name: &'static str, what: &'static str) -> Label {
    Label { name, values: Values::Configured(what) }
}

/// A label with a closed set of values.
const fn closed(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values: Values::Closed(values) }
}

/// The families of one file.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The file, below this folder and without its ending: `host/cpu`.
    pub file: &'static str,
    /// Its families.
    pub series: &'static [Series],
}

/// A file's families, by default its `SERIES`.
macro_rules! section {
    ($($module:ident)/+) => {
        section!($($module)/+, SERIES)
    };
    ($first:ident $(/ $rest:ident)*, $list:ident) => {
        Section { file: concat!(stringify!($first) $(, "/", stringify!($rest))*), series: $first::$($rest::)*$list }
    };
}

macro_rules! kernel {
    ($($name:ident $kind:ident $default:ident $about:literal [$($distribution:ident)*] [$($counter:ident)*];)*) => {
        $(pub mod $name;)*

        /// The measurements of the kernel half.
        const KERNEL: &[Section] = &[$(section!($name),)*];
    };
}
// One module per measurement: see `insight_common::measurements`.
insight_common::measurements!(kernel);

/// All sections, in the order in which documents list them.
const SECTIONS: &[&[Section]] = &[
    &[
        section!(path),
        section!(probe),
        section!(connections),
        section!(stream),
        section!(burst),
        section!(health),
        section!(service),
        section!(link),
        section!(sockets),
    ],
    KERNEL,
    &[
        section!(lost),
        section!(agent),
        section!(listener),
        section!(discovery),
        section!(host / cpu),
        section!(host / system),
        section!(host / pressure),
        section!(host / memory),
        section!(host / network, RECEIVE_ROWS),
        section!(host / network, TRANSMIT_ROWS),
        section!(host / network),
        section!(host / netstat),
        section!(host / sockstat),
        section!(host / conntrack),
        section!(host / forwarder),
        section!(host / cgroup),
    ],
];

/// Every file's families, in the order in which documents list them. A file can come several times.
pub fn sections() -> impl Iterator<Item = &'static Section> {
    SECTIONS.iter().copied().flatten()
}

/// Every family.
pub fn all() -> impl Iterator<Item = &'static Series> {
    sections().flat_map(|section| section.series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let mut seen = BTreeSet::new();
        for series in all() {
            assert!(seen.insert(series.name), "{} is declared twice", series.name);
            assert!(series.help.ends_with('.'), "{}: help is a sentence", series.name);
            assert_eq!(
                matches!(series.kind, Kind::Counter),
                series.name.ends_with("_total"),
                "{}: exactly the counters end in _total",
                series.name
            );
            if let Kind::Histogram(bounds) = series.kind {
                assert!(bounds.windows(2).all(|w| w[0] < w[1]), "{}: bounds rise", series.name);
                assert!(series.name.ends_with("_seconds"), "{}: base unit", series.name);
            }
            let labels: BTreeSet<_> = series.labels.iter().map(|l| l.name).collect();
            assert_eq!(labels.len(), series.labels.len(), "{}: a label twice", series.name);
        }
    }
}
