//! Families of the agent's own listeners, read off their doors at a scrape.

use super::families::{CounterRow, GaugeRow, register_collector};
use super::registry::Registry;
use crate::door::Door;
use crate::model::series::listener;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
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
        let descs = [CONNECTIONS.desc(), CONNECTIONS_LIMIT.desc(), REFUSED.desc()];
        register_collector(registry, DoorCollector { listeners: Arc::clone(&listeners), descs });
        listeners
    }

    /// Shows these, each reason with 0 from the start, so that an increase shows.
    pub(super) fn show(&self, doors: Doors) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = doors;
    }
}

struct DoorCollector {
    listeners: Arc<Listeners>,
    descs: [Desc; 3],
}

impl Collector for DoorCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let doors = self.listeners.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut open, mut limit, mut refused) =
            (CONNECTIONS.family(), CONNECTIONS_LIMIT.family(), REFUSED.family());
        for (name, door) in doors.iter() {
            open.put([name], Some(door.open() as f64));
            limit.put([name], Some(door.most() as f64));
            for (reason, count) in door.refused() {
                refused.put([name, reason.as_str()], count);
            }
        }
        vec![open.into_proto(), limit.into_proto(), refused.into_proto()]
    }
}
