//! All families, written one after the other.
//!
//! What the `prometheus` crate gathers at once holds a copy of every label of every series: for thousands of
//! probes more than all else that the agent keeps of them. So each family that comes alone has a registry
//! of its own, and what is gathered of one is gone before the next.

use super::join::join_labels;
use super::numbers::restore_untyped;
use crate::model::series::Series;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Registry as Gatherer, Result, TextEncoder};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Where families are registered.
#[derive(Default)]
pub(super) struct Registry {
    /// Collectors of one family, by its name.
    alone: Mutex<BTreeMap<String, Gatherer>>,
    /// Collectors of several: small ones, built at each scrape.
    together: Gatherer,
}

impl Registry {
    /// Takes a collector.
    ///
    /// # Errors
    /// One of its families is registered already.
    pub(super) fn register(&self, collector: Box<dyn Collector>) -> Result<()> {
        let names: Vec<String> = collector.desc().iter().map(|desc| desc.fq_name.clone()).collect();
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        match names.as_slice() {
            [name] => alone.entry(name.clone()).or_default().register(collector),
            names if names.iter().any(|name| alone.contains_key(name)) => Err(prometheus::Error::AlreadyReg),
            _ => self.together.register(collector),
        }
    }

    /// Everything as text 0.0.4, families and series in alphabetical order, without those that have no series.
    /// Families of `untyped` rows say that they are.
    pub(super) fn render(&self, untyped: &[Series]) -> Result<String> {
        let mut text = String::new();
        let mut write = |mut families: Vec<MetricFamily>| -> Result<()> {
            join_labels(&mut families);
            if families.iter().any(|family| untyped.iter().any(|row| row.name == family.name())) {
                text += &restore_untyped(TextEncoder::new().encode_to_string(&families)?, untyped);
                return Ok(());
            }
            TextEncoder::new().encode_utf8(&families, &mut text)
        };
        let mut together = self.together.gather().into_iter().peekable();
        let alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, gatherer) in &*alone {
            while let Some(family) = together.next_if(|family| family.name() < name.as_str()) {
                write(vec![family])?;
            }
            write(gatherer.gather())?;
        }
        together.try_for_each(|family| write(vec![family]))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::core::Desc;
    use prometheus::{IntCounter, IntGauge};

    /// Two families.
    struct Both(IntCounter, IntGauge);

    impl Collector for Both {
        fn desc(&self) -> Vec<&Desc> {
            [self.0.desc(), self.1.desc()].concat()
        }

        fn collect(&self) -> Vec<MetricFamily> {
            [self.0.collect(), self.1.collect()].concat()
        }
    }

    fn both(counter: &str, gauge: &str) -> Box<Both> {
        let gauge = IntGauge::new(gauge, "A gauge.").unwrap();
        Box::new(Both(IntCounter::new(counter, "A counter.").unwrap(), gauge))
    }

    #[test]
    fn families_are_in_order_whichever_collector_they_come_from() {
        let registry = Registry::default();
        registry.register(both("b", "f")).unwrap();
        for name in ["c", "a", "g"] {
            registry.register(Box::new(IntCounter::new(name, "One.").unwrap())).unwrap();
        }
        registry.register(both("d", "e")).unwrap();
        let text = registry.render(&[]).unwrap();
        let names: String = text.lines().filter_map(|line| line.strip_suffix(" 0")).collect();
        assert_eq!(names, "abcdefg", "{text}");
    }

    #[test]
    fn a_name_is_taken_once() {
        let registry = Registry::default();
        registry.register(both("a", "b")).unwrap();
        registry.register(Box::new(IntCounter::new("c", "One.").unwrap())).unwrap();
        assert!(registry.register(both("x", "b")).is_err());
        assert!(registry.register(both("c", "y")).is_err());
        assert!(registry.register(Box::new(IntCounter::new("c", "Two.").unwrap())).is_err());
    }
}
