//! All families, written one after the other.
//!
//! Nothing is gathered first: a family writes itself from the figures where they are, and what it needs for
//! that is gone before the next one. With thousands of probes, copies of all labels of all series were more
//! than all else that the agent keeps of them.

use super::text::{Lines, Text};
use crate::model::series::Series;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// What families come from.
pub(super) trait Collector: Send + Sync {
    /// The rows of all families that it can have.
    fn rows(&self) -> Vec<&'static Series>;

    /// Its families now. What belongs together in them is taken here; writing one may come later.
    fn collect(&self) -> Vec<Family>;
}

type Write = dyn FnOnce(&mut Lines<'_, '_>);

/// A family that can write itself, once.
pub(super) struct Family {
    series: &'static Series,
    write: Box<Write>,
}

impl Family {
    /// `write` writes its series in alphabetical order, or none.
    pub(super) fn new(series: &'static Series, write: impl FnOnce(&mut Lines<'_, '_>) + 'static) -> Self {
        Self { series, write: Box::new(write) }
    }
}

/// A family of this name is registered already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NameTaken(&'static str);

/// Where families are registered.
#[derive(Default)]
pub(super) struct Registry(Mutex<Registered>);

#[derive(Default)]
struct Registered {
    names: BTreeSet<&'static str>,
    collectors: Vec<Box<dyn Collector>>,
}

impl Registry {
    /// Takes a collector.
    ///
    /// # Errors
    /// One of its families is registered already; then none is registered of it.
    pub(super) fn register(&self, collector: Box<dyn Collector>) -> Result<(), NameTaken> {
        let mut registered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = registered.names.clone();
        for row in collector.rows() {
            if !names.insert(row.name) {
                return Err(NameTaken(row.name));
            }
        }
        registered.names = names;
        registered.collectors.push(collector);
        Ok(())
    }

    /// Everything as text 0.0.4, families and series in alphabetical order, without those that have no series.
    pub(super) fn write(&self, text: &mut Text<'_>) {
        let mut families: Vec<Family> = {
            let registered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            registered.collectors.iter().flat_map(|collector| collector.collect()).collect()
        };
        families.sort_by_key(|family| family.series.name);
        for family in families {
            if !text.is_wanted() {
                return;
            }
            (family.write)(&mut Lines::of(family.series, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::series::Kind;
    use std::ops::ControlFlow;

    const fn row(name: &'static str) -> Series {
        Series { name, help: "One.", kind: Kind::Gauge, labels: &[], bound: "1" }
    }

    static ROWS: [Series; 7] = [row("a"), row("b"), row("c"), row("d"), row("e"), row("f"), row("g")];

    struct Of(Vec<&'static Series>);

    impl Collector for Of {
        fn rows(&self) -> Vec<&'static Series> {
            self.0.clone()
        }

        fn collect(&self) -> Vec<Family> {
            self.0.iter().map(|row| Family::new(row, |lines| lines.count([], 0))).collect()
        }
    }

    fn of(rows: &[usize]) -> Box<Of> {
        Box::new(Of(rows.iter().map(|at| &ROWS[*at]).collect()))
    }

    #[test]
    fn families_are_in_order_whichever_collector_they_come_from() {
        let registry = Registry::default();
        for rows in [&[1, 5][..], &[2], &[0], &[6], &[4, 3]] {
            registry.register(of(rows)).unwrap();
        }
        let mut page = String::new();
        let mut give = |piece: String| {
            page += &piece;
            ControlFlow::Continue(())
        };
        let mut text = Text::new(&mut give);
        registry.write(&mut text);
        text.finish();
        let names: String = page.lines().filter_map(|line| line.strip_suffix(" 0")).collect();
        assert_eq!(names, "abcdefg", "{page}");
    }

    #[test]
    fn a_name_is_taken_once() {
        let registry = Registry::default();
        registry.register(of(&[0, 1])).unwrap();
        registry.register(of(&[2])).unwrap();
        assert_eq!(registry.register(of(&[5, 1])), Err(NameTaken("b")));
        assert_eq!(registry.register(of(&[2, 6])), Err(NameTaken("c")));
        assert_eq!(registry.register(of(&[2])), Err(NameTaken("c")));
        registry.register(of(&[5, 6])).unwrap();
    }
}
