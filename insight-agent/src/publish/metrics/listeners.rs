//! Families of the agent's own listeners, read off their doors at a scrape.

use super::families::{CounterRow, GaugeRow, register_collector};
use super::registry::{Collector, Family, Registry};
use crate::door::Door;
use crate::model::series::{Series, listener};
use std::sync::{Arc, Mutex, PoisonError};

const CONNECTIONS: GaugeRow<1> = GaugeRow::of(&listener::CONNECTIONS);
const CONNECTIONS_LIMIT: GaugeRow<1> = GaugeRow::of(&listener::CONNECTIONS_LIMIT);
const REFUSED: CounterRow<2> = CounterRow::of(&listener::REFUSED);

/// The doors by the names of their listeners, which are in `series::listener::LISTENERS`.
pub type Doors = Vec<(&'static str, Arc<Door>)>;

/// The listeners that are shown; none until they are known.
#[derive(Default)]
pub(super) struct Listeners(Mutex<Doors>);

impl Listeners {
    pub(super) fn register(registry: &Registry) -> Arc<Self> {
        let listeners = Arc::new(Self::default());
        register_collector(registry, DoorCollector(Arc::clone(&listeners)));
        listeners
    }

    /// Shows these, each reason with 0 from the start, so that an increase shows.
    pub(super) fn show(&self, doors: Doors) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = doors;
    }
}

struct DoorCollector(Arc<Listeners>);

impl Collector for DoorCollector {
    fn rows(&self) -> Vec<&'static Series> {
        vec![CONNECTIONS.row(), CONNECTIONS_LIMIT.row(), REFUSED.row()]
    }

    fn collect(&self) -> Vec<Family> {
        let doors = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut open, mut limit, mut refused) =
            (CONNECTIONS.family(), CONNECTIONS_LIMIT.family(), REFUSED.family());
        for (name, door) in doors.iter() {
            open.put([name], Some(door.open() as f64));
            limit.put([name], Some(door.most() as f64));
            for (reason, count) in door.refused() {
                refused.put([name, reason.as_str()], count);
            }
        }
        vec![open.into_family(), limit.into_family(), refused.into_family()]
    }
}
