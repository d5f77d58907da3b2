//! Families of discoveries: how do the sources fare, and what becomes of what they tell?

use super::families::{CounterRow, Counters, GaugeRow, register_collector};
use super::registry::{Collector, Family, Registry};
use crate::model::discovery::{DiscoveryState, DropReason, LookupClass};
use crate::model::series::{Series, discovery};
use std::sync::{Arc, Mutex, PoisonError};

const ENDPOINTS: GaugeRow<1> = GaugeRow::of(&discovery::ENDPOINTS);
const LAST_SUCCESS: GaugeRow<1> = GaugeRow::of(&discovery::LAST_SUCCESS);
const UP: GaugeRow<1> = GaugeRow::of(&discovery::UP);
const FAILURES: CounterRow<2> = CounterRow::of(&discovery::FAILURES);
const DROPPED: CounterRow<2> = CounterRow::of(&discovery::DROPPED);
const UPDATES: CounterRow<1> = CounterRow::of(&discovery::UPDATES);

/// The families of discoveries.
pub(super) struct Discoveries {
    shown: Arc<Shown>,
    failures: Counters<2>,
    dropped: Counters<2>,
    updates: Counters<1>,
}

impl Discoveries {
    pub(super) fn register(registry: &Registry) -> Self {
        let shown = Arc::new(Shown::default());
        register_collector(registry, StateCollector(Arc::clone(&shown)));
        Self {
            shown,
            failures: FAILURES.register(registry),
            dropped: DROPPED.register(registry),
            updates: UPDATES.register(registry),
        }
    }

    /// Shows these in place of the last ones. Counters of discoveries that are new are there with 0, so that
    /// an increase shows; those of discoveries that are none any more are gone.
    pub(super) fn show(&self, states: Vec<DiscoveryState>) {
        let mut shown = self.shown.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names =
            |states: &[DiscoveryState]| states.iter().map(|state| state.name.clone()).collect::<Vec<_>>();
        let (before, now) = (names(&shown), names(&states));
        if before != now {
            for name in now.iter().filter(|name| !before.contains(name)) {
                for class in LookupClass::NAMES {
                    self.failures.with([name, class]).inc_by(0);
                }
                for reason in DropReason::NAMES {
                    self.dropped.with([name, reason]).inc_by(0);
                }
                self.updates.with([name]).inc_by(0);
            }
            let stays =
                |values: &[&str]| values.first().is_some_and(|name| now.iter().any(|known| known == name));
            self.failures.retain(stays);
            self.dropped.retain(stays);
            self.updates.retain(stays);
        }
        *shown = states;
    }

    pub(super) fn failed(&self, name: &str, class: LookupClass) {
        self.if_shown(name, || self.failures.with([name, class.as_str()]).inc());
    }

    pub(super) fn dropped(&self, name: &str, reason: DropReason) {
        self.if_shown(name, || self.dropped.with([name, reason.as_str()]).inc());
    }

    pub(super) fn updated(&self, name: &str) {
        self.if_shown(name, || self.updates.with([name]).inc());
    }

    /// The last news of a discovery that has just been given up must not bring its series back.
    fn if_shown(&self, name: &str, count: impl FnOnce()) {
        let shown = self.shown.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.iter().any(|state| state.name == name) {
            count();
        }
    }
}

#[derive(Default)]
struct Shown(Mutex<Vec<DiscoveryState>>);

/// The registry's handle on the states.
struct StateCollector(Arc<Shown>);

impl Collector for StateCollector {
    fn rows(&self) -> Vec<&'static Series> {
        vec![ENDPOINTS.row(), LAST_SUCCESS.row(), UP.row()]
    }

    fn collect(&self) -> Vec<Family> {
        let states = self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut endpoints, mut success, mut up) = (ENDPOINTS.family(), LAST_SUCCESS.family(), UP.family());
        for state in &states {
            let name = [state.name.as_str()];
            endpoints.put(name, state.endpoints.map(|count| count as f64));
            let since = state.success.and_then(|success| success.since_epoch);
            success.put(name, since.map(|since| since.as_secs_f64()));
            up.put(name, state.is_up().map(|is_up| f64::from(u8::from(is_up))));
        }
        vec![endpoints.into_family(), success.into_family(), up.into_family()]
    }
}
