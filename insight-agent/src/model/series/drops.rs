//! Packets that the kernel dropped.

use super::kernel::{Shown, events};
use super::{Kind, Series, closed};
use insight_common::kernel::drops::{DROP_CLASSES, DropClass};

/// The classes' names.
const CLASSES: [&str; DROP_CLASSES as usize] = classes();

const fn classes() -> [&'static str; DROP_CLASSES as usize] {
    let mut names = [""; DROP_CLASSES as usize];
    let mut at = 0;
    while at < names.len() {
        names[at] = DropClass::ALL[at].name();
        at += 1;
    }
    names
}

/// Drops, by class.
pub const PACKET_DROPS: Series = Series {
    name: "insight_packet_drops_total",
    help: "Packets that the kernel dropped, by class of its reason. tcp_normal is no fault: duplicates, and what \
           ended connections leave over.",
    kind: Kind::Counter,
    labels: &[closed("class", &CLASSES)],
    bound: "classes (16)",
};

/// This file's families.
pub const SERIES: &[Series] = &[PACKET_DROPS];

/// Where its figures are shown.
pub const SHOWN: &[Shown] = &shown();

/// Each class's labels.
const LABELS: [[(&str, &str); 1]; DROP_CLASSES as usize] = labels();

const fn labels() -> [[(&'static str, &'static str); 1]; DROP_CLASSES as usize] {
    let mut labels = [[("class", "")]; DROP_CLASSES as usize];
    let mut at = 0;
    while at < labels.len() {
        labels[at] = [("class", CLASSES[at])];
        at += 1;
    }
    labels
}

const fn shown() -> [Shown; DROP_CLASSES as usize] {
    let mut shown = [events(DropClass::ALL[0].counter(), &PACKET_DROPS, &LABELS[0]); DROP_CLASSES as usize];
    let mut at = 0;
    while at < shown.len() {
        shown[at] = events(DropClass::ALL[at].counter(), &PACKET_DROPS, &LABELS[at]);
        at += 1;
    }
    shown
}
